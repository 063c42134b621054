/* abide-carrier - the program that is a carrier and nothing else: see child.h. */
#include "updater/carrier/child.h"

int main(int argc, char **argv)
{
	return child_main(argc, argv);
}
