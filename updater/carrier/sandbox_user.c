/* sandbox_user - whom a carrier becomes: asked by the installer, which needs nothing else of the
 * sandbox and links none of its libraries. */
#include <pwd.h>
#include <unistd.h>

#include "updater/carrier/sandbox.h"

#define UID_NOBODY 65534u

int sandbox_find_user(const char *user, struct sandbox *ret, struct err *err)
{
	const struct passwd *entry;

	ret->change_user = geteuid() == 0;
	if (!ret->change_user)
		return 0;
	ret->uid = UID_NOBODY;
	ret->gid = UID_NOBODY;
	entry = getpwnam(user ? user : "abide");
	if (!entry && user)
		return err_set(err, FAIL_USAGE,
			"carrier user '%s' does not exist: create it, or leave it out", user);
	if (!entry)
		entry = getpwnam("nobody");
	if (!entry)
		return 0;
	if (entry->pw_uid == 0)
		return err_set(err, FAIL_USAGE, "carrier user '%s' is root: it must have no rights",
			entry->pw_name);
	ret->uid = entry->pw_uid;
	ret->gid = entry->pw_gid;
	return 0;
}
