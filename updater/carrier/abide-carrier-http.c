/* abide-carrier-http - the program that is a carrier of URLs, and nothing else: see child.h. */
#include <unistd.h>

#include "updater/carrier/child.h"

int main(int argc, char **argv)
{
	/* Not exit(): what libraries do at the end, the sandbox does not allow. */
	_exit(child_main(argc, argv, &SOURCE_HTTP));
}
