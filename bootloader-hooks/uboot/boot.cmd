# abide: which group boots, counting the tries of one on trial. For U-Boot 2018.01 and later with the
# hush shell; commands: test itest setexpr load part source, and saveenv or (abide_store=raw) env cp
# cmp mw crc32. Compile it with: mkimage -T script -C none -A ARCH -d boot.cmd boot.scr
#
# The variables are described in README.md beside the source of this file. What is taken for valid
# here mirrors uboot_values_parse() in values.c, what is started mirrors bootloader-hooks/model.h:
# change one, change all.
#
# There is no menu and no prompt. A confirmed system that boots writes nothing.
#
# NAME=VALUE makes a variable of the shell, which `saveenv` does not save; setenv and setexpr make
# one of the environment. An empty VALUE leaves the variable as it was: hence `no` and `none`. Of two
# variables of the same name that of the environment counts: no name is used both ways here, and a
# setting may come from there, too.

# What a device may want otherwise. abide-site.scr beside this script, if there is one, is sourced
# after these and may set any of them.
# Where the groups, this script and the raw environment lie: an interface and a device's number.
abide_if="${devtype}"
abide_num="${devnum}"
abide_a_part=2
abide_b_part=3
abide_a_root=PARTLABEL=rootfs-a
abide_b_root=PARTLABEL=rootfs-b
abide_kernel=/boot/vmlinuz
# Used if the group has it; or `none`.
abide_initrd=/boot/initrd
# A device tree of the group; `none` for U-Boot's own.
abide_fdt=none
abide_cmdline="ro rootwait"
# booti, bootz; or bootm for a FIT image, which has the initrd and the device tree in it.
abide_boot=booti
# Run before a group is loaded, e.g. "wdt start 60000"; or `none`.
abide_watchdog=none
abide_reset=reset
# Seconds before it restarts when nothing boots.
abide_pause=9
# env: U-Boot's own environment, which `saveenv` can save.
# raw: for a U-Boot that cannot. Two copies in a partition, in the format of a redundant environment.
abide_store=env
abide_save=saveenv
# raw: the partition's name or number, or (if not `none`) the block of the first copy; each copy's
# blocks of 512 bytes. Numbers are hexadecimal, as everywhere in U-Boot.
abide_env_part=uboot-env
abide_env_block=none
abide_env_blocks=20
# raw: the variables that are kept when a try is saved, and memory for three copies.
abide_env_names="BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT"
abide_env_addr="${ramdisk_addr_r}"

if test -n "${distro_bootpart}"; then
	if test -e ${devtype} ${devnum}:${distro_bootpart} ${prefix}abide-site.scr; then
		if load ${devtype} ${devnum}:${distro_bootpart} ${kernel_addr_r} ${prefix}abide-site.scr; then
			source ${kernel_addr_r}
		fi
	fi
fi

# ---- raw: the variables come from the newer valid copy, never from U-Boot's own environment ----

# 1 or 2: the copy that counts.
abide_copy=none
if test "${abide_store}" = raw; then
	setenv BOOT_ORDER
	setenv BOOT_A_LEFT
	setenv BOOT_B_LEFT
	setenv abide_block1 ${abide_env_block}
	if test ${abide_env_block} = none; then
		setenv abide_block1
		part start ${abide_if} ${abide_num} ${abide_env_part} abide_block1
	fi
	${abide_if} dev ${abide_num}
	setexpr abide_block2 ${abide_block1} + ${abide_env_blocks}
	# A copy: its checksum (4 bytes, little-endian), its flag (1 byte), the variables.
	setexpr abide_size ${abide_env_blocks} * 200
	setexpr abide_data_size ${abide_size} - 5
	# In memory: copy 1, copy 2, and behind them what is computed.
	setexpr abide_m1 ${abide_env_addr} + 0
	setexpr abide_m2 ${abide_m1} + ${abide_size}
	setexpr abide_crc ${abide_m2} + ${abide_size}
	setexpr abide_mem ${abide_crc} + 40
	for abide_c in 1 2; do
		if test ${abide_c} = 1; then
			abide_m=${abide_m1}
			abide_block=${abide_block1}
		else
			abide_m=${abide_m2}
			abide_block=${abide_block2}
		fi
		abide_ok=no
		if test -n "${abide_block1}"; then
			if ${abide_if} read ${abide_m} ${abide_block} ${abide_env_blocks}; then abide_ok=yes; fi
		fi
		if test ${abide_ok} = yes; then
			setexpr abide_data ${abide_m} + 5
			# crc32 leaves the most significant byte first.
			crc32 ${abide_data} ${abide_data_size} ${abide_crc}
			setexpr abide_src ${abide_crc} + 3
			for abide_i in 0 1 2 3; do
				setexpr abide_to ${abide_crc} + ${abide_i}
				setexpr abide_to ${abide_to} + 4
				cp.b ${abide_src} ${abide_to} 1
				setexpr abide_src ${abide_src} - 1
			done
			setexpr abide_to ${abide_crc} + 4
			if cmp.b ${abide_m} ${abide_to} 4; then true; else abide_ok=no; fi
		fi
		if test ${abide_ok} = yes; then
			setexpr abide_to ${abide_m} + 4
			setexpr.b abide_flag *${abide_to}
			# Of two valid copies the one with the higher flag counts; 0 follows ff.
			if test ${abide_copy} = none; then
				abide_copy=${abide_c}
				abide_newest=${abide_flag}
			else
				if itest ${abide_flag} -gt ${abide_newest}; then abide_copy=2; fi
				if itest ${abide_flag} -eq 0 && itest ${abide_newest} -eq ff; then abide_copy=2; fi
				if itest ${abide_flag} -eq ff && itest ${abide_newest} -eq 0; then abide_copy=1; fi
				if test ${abide_copy} = 2; then abide_newest=${abide_flag}; fi
			fi
		else
			echo "abide: copy ${abide_c} of the environment is not valid"
		fi
	done
	if test ${abide_copy} != none; then
		if test ${abide_copy} = 1; then
			setexpr abide_data ${abide_m1} + 5
			abide_block=${abide_block2}
		else
			setexpr abide_data ${abide_m2} + 5
			abide_block=${abide_block1}
		fi
		env import -b ${abide_data} ${abide_data_size} ${abide_env_names}
	fi
fi

# ---- valid? which steps? ----

# What is to be done, in this order: the first that comes off. Astart: start it, uncounted. Atry:
# count, save, start.
abide_steps=none
abide_valid=no
if test "${BOOT_ORDER}" = "A B"; then abide_valid=yes; fi
if test "${BOOT_ORDER}" = "B A"; then abide_valid=yes; fi
if test "${BOOT_ORDER}" = "A"; then abide_valid=yes; fi
if test "${BOOT_ORDER}" = "B"; then abide_valid=yes; fi
if test ${abide_valid} = yes; then
	abide_first=none
	for abide_group in ${BOOT_ORDER}; do
		if test ${abide_first} = none; then abide_first=${abide_group}; fi
		abide_last=${abide_group}
		if test ${abide_group} = A; then
			abide_left="0x${BOOT_A_LEFT}"
		else
			abide_left="0x${BOOT_B_LEFT}"
		fi
		# A number is what comes out as it went in.
		setenv abide_number
		setexpr abide_number "${abide_left}" + 0
		if test "0x${abide_number}" != "${abide_left}" || test "${abide_left}" = 0x; then
			abide_valid=no
		else
			# At most ffff: itest looks at the last eight digits only.
			setexpr abide_number ${abide_left} / 10000
		fi
		if test ${abide_valid} = no || test ${abide_number} != 0; then
			abide_valid=no
		elif itest ${abide_left} -ge a; then
			# Confirmed: never counted. If it does not load, the next one may.
			abide_steps="${abide_steps} ${abide_group}start"
		elif itest ${abide_left} -gt 0; then
			abide_steps="${abide_steps} ${abide_group}try"
		fi
	done
	# Nothing left: start over, uncounted, with the last of BOOT_ORDER, which is the fallback.
	abide_steps="${abide_steps} ${abide_last}start"
	if test ${abide_first} != ${abide_last}; then
		abide_steps="${abide_steps} ${abide_first}start"
	fi
fi
if test ${abide_valid} != yes; then
	# A half-written image has no first block, so it does not load.
	echo "abide: BOOT_ORDER='${BOOT_ORDER}' BOOT_A_LEFT='${BOOT_A_LEFT}' BOOT_B_LEFT='${BOOT_B_LEFT}': not valid, starting any group that loads"
	abide_steps="Astart Bstart"
fi

# ---- the steps ----

for abide_step in ${abide_steps}; do
	abide_trial=none
	if test ${abide_step} = Atry; then
		abide_trial=A
		setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
		abide_left=${BOOT_A_LEFT}
	elif test ${abide_step} = Btry; then
		abide_trial=B
		setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
		abide_left=${BOOT_B_LEFT}
	fi

	# Counts, and starts only what was counted. A device that cannot be written does not get a
	# trial that never ends: on with the next step.
	abide_go=yes
	if test ${abide_step} = none; then abide_go=no; fi
	if test ${abide_trial} != none; then
		abide_go=no
		if test "${abide_store}" = raw; then
			# Into the older copy. A cut leaves the one that counts.
			setexpr abide_flag ${abide_newest} + 1
			if itest ${abide_flag} -gt ff; then setexpr abide_flag 0 + 0; fi
			setexpr abide_new ${abide_mem} + 0
			mw.b ${abide_new} 0 ${abide_size}
			setexpr abide_data ${abide_new} + 5
			if env export -b -s ${abide_data_size} ${abide_data} ${abide_env_names}; then
				crc32 ${abide_data} ${abide_data_size} ${abide_crc}
				setexpr abide_src ${abide_crc} + 3
				for abide_i in 0 1 2 3; do
					setexpr abide_to ${abide_new} + ${abide_i}
					cp.b ${abide_src} ${abide_to} 1
					setexpr abide_src ${abide_src} - 1
				done
				setexpr abide_to ${abide_new} + 4
				mw.b ${abide_to} ${abide_flag}
				if ${abide_if} write ${abide_new} ${abide_block} ${abide_env_blocks}; then abide_go=yes; fi
			fi
		else
			setenv abide_number
			if ${abide_save}; then abide_go=yes; fi
		fi
		if test ${abide_go} = yes; then
			echo "abide: group ${abide_trial} on trial, ${abide_left} tries left after this one"
		else
			echo "abide: cannot save: group ${abide_trial} is not tried"
			if test ${abide_trial} = A; then
				setexpr BOOT_A_LEFT ${BOOT_A_LEFT} + 1
			else
				setexpr BOOT_B_LEFT ${BOOT_B_LEFT} + 1
			fi
		fi
	fi

	if test ${abide_go} = yes; then
		if test ${abide_step} = Astart || test ${abide_step} = Atry; then
			abide_name=a
			abide_part=${abide_a_part}
			abide_root="${abide_a_root}"
		else
			abide_name=b
			abide_part=${abide_b_part}
			abide_root="${abide_b_root}"
		fi
		abide_from="${abide_if} ${abide_num}:${abide_part}"
		if test "${abide_watchdog}" != none; then ${abide_watchdog}; fi
		setenv bootargs "abide.group=${abide_name} root=${abide_root} panic=10 ${abide_cmdline}"
		abide_loaded=no
		if load ${abide_from} ${kernel_addr_r} ${abide_kernel}; then abide_loaded=yes; fi
		# The kernel's device tree: the group's, else the board's, else U-Boot's.
		if test "${abide_fdt}" != none; then
			abide_tree=${fdt_addr_r}
			if load ${abide_from} ${fdt_addr_r} ${abide_fdt}; then true; else abide_loaded=no; fi
		elif test -n "${fdt_addr}"; then
			abide_tree=${fdt_addr}
		else
			abide_tree=${fdtcontroladdr}
		fi
		abide_rd=-
		if test "${abide_initrd}" != none && test -e ${abide_from} ${abide_initrd}; then
			if load ${abide_from} ${ramdisk_addr_r} ${abide_initrd}; then
				abide_rd=${ramdisk_addr_r}:${filesize}
			else
				abide_loaded=no
			fi
		fi
		if test ${abide_loaded} = yes; then
			echo "abide: starting group ${abide_name} from ${abide_from}"
			if test "${abide_boot}" = bootm; then
				bootm ${kernel_addr_r}
			else
				${abide_boot} ${kernel_addr_r} ${abide_rd} ${abide_tree}
			fi
		fi
		echo "abide: group ${abide_name} does not load from ${abide_from}"
		# That was its try.
		if test ${abide_trial} != none; then ${abide_reset}; fi
	fi
done

echo "abide: nothing boots; restarting in ${abide_pause} s"
sleep ${abide_pause}
${abide_reset}
