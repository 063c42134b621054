# As site.cmd; and this U-Boot cannot save its environment, and its kernel comes packed.
abide_cmdline="ro quiet console=ttyAMA0 panic=2"
abide_store=raw
setenv kernel_comp_addr_r 0x50000000
setenv kernel_comp_size 0x2000000
