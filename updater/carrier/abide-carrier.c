/* abide-carrier - the program that is a carrier of files and standard input, and nothing else: see
 * child.h. It brings no HTTP library. */
#include <unistd.h>

#include "updater/carrier/child.h"

int main(int argc, char **argv)
{
	/* Not exit(): what libraries do at the end, the sandbox does not allow. */
	_exit(child_main(argc, argv, NULL));
}
