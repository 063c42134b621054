# What the virtual device has otherwise than boot.cmd's defaults: one serial console, and nobody who
# reads a panic for ten seconds. No rootwait: the initramfs finds the root. Where it is missing the
# kernel would wait for ever.
abide_cmdline="ro quiet console=ttyAMA0 panic=2"
