#include "qemu/vm_device.h"

#include <string.h>

#include "updater/mem.h"

#define OVMF "/usr/share/OVMF/OVMF_"

/* Two serial ports, virtio disk and network. Nehalem: of what Debian's kernel can use, the one that
 * TCG emulates at the least cost. */
/* clang-format off */
#define X86_64_UEFI_BOOT(bootindex) \
	.qemu = "qemu-system-x86_64", .arch = "x86_64", .cpu = "Nehalem", .console = "ttyS0", \
	.firmware = OVMF "CODE_4M.fd", .firmware_vars = OVMF "VARS_4M.fd", \
	.arguments = {"-M", "q35,smm=off", "-m", "512", \
		"-serial", "chardev:console", "-serial", "chardev:channel", \
		"-device", "virtio-blk-pci,drive=disk" bootindex, \
		"-device", "virtio-net-pci,netdev=net,romfile=", NULL}
#define X86_64_UEFI X86_64_UEFI_BOOT(",bootindex=0")
/* The kernel is a file on the ESP, where the firmware reads it. */
#define KERNEL_ON_ESP \
	.slots = {{.class = "boot", .file = {"/abide/boot-a.efi", "/abide/boot-b.efi"}}, \
		{.class = "rootfs"}}

/* One PL011, which is the console; the channel is a port on PCI. The watchdog is real hardware to the
 * guest, and its bite a reset of the machine. */
#define ARM64_UBOOT(...) \
	.qemu = "qemu-system-aarch64", .arch = "aarch64", .cpu = "cortex-a53", \
	.console = "ttyAMA0", .firmware = "u-boot.bin", \
	.arguments = {"-M", "virt,gic-version=3", "-m", "512", \
		"-serial", "chardev:console", "-device", "pci-serial,chardev=channel", \
		"-device", "i6300esb", "-action", "watchdog=reset", \
		"-device", "virtio-net-pci,netdev=net,romfile=", __VA_ARGS__, NULL}, \
	.loader = "U-Boot 20", .counted = "tries left after this one", \
	.not_loaded = "does not load from", .slots = {{.class = "rootfs"}}
/* clang-format on */

const struct vm_device VM_DEVICES[] = {
	{
		.name = "x86_64-grub",
		.title = "x86_64, UEFI, GRUB",
		X86_64_UEFI,
		.loader = "Welcome to GRUB!",
		.counted = "tries left after this one",
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
	{
		.name = "x86_64-systemd-boot",
		.title = "x86_64, UEFI, systemd-boot",
		X86_64_UEFI,
		.loader = "BdsDxe: starting Boot",
		/* systemd-boot counts without a word; then the kernel comes. */
		.counted = "Linux version",
		.not_loaded = "abide: came back",
		KERNEL_ON_ESP,
		.view = &BOOT_VIEW_SYSTEMD_BOOT,
		/* A second name of each good group, as a cut in its confirmation leaves it. */
		.damage_one = {"cd /boot/efi/loader/entries && for f in abide-*; do case $f in "
			       "*+*) ;; *) cp $f ${f%.conf}+2-1.conf || exit ;; esac; done; sync",
			NULL, "left over from a change that was cut off", 0},
		/* A name that systemd-boot takes for a good entry, and abide for nothing it wrote. */
		.damage_all = {"cd /boot/efi/loader/entries && for f in abide-*; do cp $f "
			       "${f%.conf}+x.conf || exit; done; sync",
			NULL, "a name that abide does not write", 7},
	},
	{
		.name = "x86_64-efi",
		.title = "x86_64, UEFI alone",
		/* With a bootindex OVMF makes BootOrder anew at each boot. */
		X86_64_UEFI_BOOT(",share-rw=on"), /* with the flash behind it */
		.view = &BOOT_VIEW_EFI,
		.tries_max = 1,
		.loader = "BdsDxe: starting Boot",
		.counted = "Linux version",
		.not_loaded = "BdsDxe: failed to",
		KERNEL_ON_ESP,
		.damage_one = {"rm /sys/firmware/efi/efivars/Boot01*",
			"abide: no entry of the firmware's", "the firmware has no entry of abide's",
			0},
		/* More entries than abide knows what to do with. The kernel lets through no half ones. */
		.damage_all = {"cd /sys/firmware/efi/efivars && f=$(echo BootOrder-*) && { cat $f; "
			       "for i in $(seq 150); do tail -c 2 $f; done; } >/tmp/x && "
			       "cat /tmp/x >$f",
			NULL, "BootOrder has", 7},
	},
	{
		.name = "arm64-uboot",
		.title = "arm64, U-Boot, SD card",
		ARM64_UBOOT("-device", "sdhci-pci", "-device", "sd-card,drive=disk"),
		.view = &BOOT_VIEW_UBOOT,
		/* What an SD card has answered is on it: QEMU's writes each sector before it does. */
		.no_cache = true,
		.damage_one = {"dd if=/dev/urandom of=/dev/mmcblk0 bs=1k seek=512 count=16 && sync",
			NULL, "U-Boot environment, copy 1", 0},
		.damage_all = {"for k in 512 576; do dd if=/dev/urandom of=/dev/mmcblk0 bs=1k "
			       "seek=$k count=16 || exit; done; sync",
			"starting any group that loads", "no valid U-Boot environment", 7},
	},
	{
		.name = "arm64-uboot-stock",
		.title = "arm64, Debian's own U-Boot, virtio disk",
		ARM64_UBOOT("-device", "virtio-blk-pci,drive=disk"),
		.view = &BOOT_VIEW_UBOOT_RAW,
		.damage_one = {"dd if=/dev/urandom of=/dev/disk/by-partlabel/uboot-env bs=16k "
			       "count=1 && sync",
			"copy 1 of the environment is not valid", "U-Boot environment, copy 1", 0},
		.damage_all = {"dd if=/dev/urandom of=/dev/disk/by-partlabel/uboot-env bs=16k "
			       "count=2 && sync",
			"starting any group that loads", "no valid U-Boot environment", 7},
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
