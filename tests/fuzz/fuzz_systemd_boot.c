/*
 * What lies on systemd-boot's partition: names, entries, loader.conf, templates. Input: a text in
 * which a line "=NAME" begins a file: loader.conf, a template (a.conf, b.conf), or an entry. What is
 * taken for a state is one, and committing it leaves it as it is.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader-hooks/systemd-boot/systemd_boot.h"
#include "tests/fuzz/boot.h"
#include "tests/fuzz/folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const DIRECTORIES[] = {"loader", "loader/entries", "abide"};

/* A name that is taken for an entry's is written as it was read, in the letters that count. */
static void check_name(const char *name)
{
	struct systemd_boot_entry entry, again;
	char written[SYSTEMD_BOOT_NAME_MAX];

	if (systemd_boot_parse(name, &entry) != SYSTEMD_BOOT_ENTRY)
		return;
	systemd_boot_format(&entry, written);
	if (systemd_boot_parse(written, &again) != SYSTEMD_BOOT_ENTRY ||
		systemd_boot_compare(&entry, &again) != 0 || entry.done != again.done)
		abort();
}

static void put_file(const char *name, const char *text, size_t len)
{
	char path[PATH_MAX];
	const char *directory = "loader/entries";

	if (strcmp(name, "loader.conf") == 0)
		directory = "loader";
	if (strcmp(name, "a.conf") == 0 || strcmp(name, "b.conf") == 0)
		directory = "abide";
	check_name(name);
	if (!strchr(name, '/') && strlen(name) <= NAME_MAX) {
		(void)snprintf(path, sizeof(path), "%s/%s", directory, name); /* fits */
		(void)folder_put(path, text, len);
	}
}

static void put_templates(void)
{
	static const char A[] = "efi /abide/boot-a.efi\noptions abide.group=a\n";
	static const char B[] = "efi /abide/boot-b.efi\noptions abide.group=b\n";

	(void)folder_put("abide/a.conf", A, strlen(A));
	(void)folder_put("abide/b.conf", B, strlen(B));
	(void)folder_put("abide/boot-a.efi", "", 0);
	(void)folder_put("abide/boot-b.efi", "", 0);
}

/* Every "=NAME" with what stands behind it. */
static void put_files(char *text, size_t len)
{
	char *end = text + len;

	while (text < end) {
		char *line_end = memchr(text, '\n', (size_t)(end - text));
		char *body = line_end ? line_end + 1 : end;
		char *next =
			body < end ? memmem(body - 1, (size_t)(end - body) + 1, "\n=", 2) : NULL;

		if (line_end && *text == '=') {
			*line_end = '\0';
			put_file(text + 1, body, (size_t)((next ? next + 1 : end) - body));
		}
		text = next ? next + 1 : end;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(bootloader_close) struct bootloader *bl = NULL;
	CLEANUP(bytes_finish) struct bytes text = {0};
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(DIRECTORIES); i++)
		folder_clear(DIRECTORIES[i]);
	put_templates();
	if (bytes_copy(data, len, &text, &err) < 0 ||
		systemd_boot_open(folder_path(), &bl, &err) < 0)
		abort();
	put_files((char *)text.data, text.len);
	boot_check_kept(bl);
	return 0;
}
