#include "qemu/vm_device.h"

#include <string.h>

#include "updater/mem.h"

#define OVMF "/usr/share/OVMF/OVMF_"

/* Two serial ports, virtio disk and network. Nehalem: of what Debian's kernel can use, the one that
 * TCG emulates at the least cost. */
/* clang-format off */
#define X86_64_UEFI \
	.qemu = "qemu-system-x86_64", .arch = "x86_64", .cpu = "Nehalem", .console = "ttyS0", \
	.firmware = OVMF "CODE_4M.fd", .firmware_vars = OVMF "VARS_4M.fd", \
	.arguments = {"-M", "q35,smm=off", "-m", "512", \
		"-serial", "chardev:console", "-serial", "chardev:channel", \
		"-device", "virtio-blk-pci,drive=disk,bootindex=0", \
		"-device", "virtio-net-pci,netdev=net,romfile=", NULL}
/* clang-format on */

const struct vm_device VM_DEVICES[] = {
	{
		.name = "x86_64-grub",
		.title = "x86_64, UEFI, GRUB",
		X86_64_UEFI,
		.loader = "Welcome to GRUB!",
		.counted = "abide: group B on trial",
		.not_loaded = "does not load",
		.slots = {{.class = "rootfs"}},
		.view = &BOOT_VIEW_GRUB,
		.damage_one = {"dd if=/dev/urandom of=/boot/efi/grub/grubenv bs=1024 count=1 "
			       "conv=notrunc && sync",
			"grubenv is not usable: trying its spare copy", "grubenv.spare", 0},
		.damage_all = {"for copy in grubenv grubenv.spare; do dd if=/dev/urandom "
			       "of=/boot/efi/grub/$copy bs=1024 count=1 conv=notrunc || exit; "
			       "done; sync",
			"starting any group that loads", "no valid GRUB environment", 7},
	},
};
const size_t VM_DEVICES_LEN = ARRAY_LEN(VM_DEVICES);

const struct vm_device *vm_device_find(const char *name)
{
	for (size_t i = 0; i < VM_DEVICES_LEN; i++)
		if (strcmp(VM_DEVICES[i].name, name) == 0)
			return &VM_DEVICES[i];
	return NULL;
}
