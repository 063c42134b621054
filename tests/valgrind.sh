#!/bin/sh
# valgrind.sh PROGRAM - fails on any error and on any lost block.
exec valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect \
	--errors-for-leak-kinds=definite,indirect --child-silent-after-fork=yes "$@"
