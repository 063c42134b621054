# What the virtual device has otherwise than boot.cmd's defaults: one serial console, and nobody who
# reads a panic for ten seconds.
abide_cmdline="ro rootwait quiet console=ttyAMA0 panic=2"
