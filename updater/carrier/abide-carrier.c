/* abide-carrier - the program that is a carrier and nothing else: see child.h. */
#include <stdio.h>
#include <unistd.h>

#include "updater/carrier/child.h"

int main(int argc, char **argv)
{
	if (argc != CHILD_ARGS) {
		(void)fprintf(stderr, "%s: started by abide, not by people\n", CHILD_NAME);
		return 2;
	}
	/* Not exit(): what libraries do at the end, the sandbox does not allow. */
	_exit(child_main(argc, argv));
}
