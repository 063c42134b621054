/* Load options. Sources: UEFI 2.10, 3.1.3 (load option), 10.3.5 (hard drive and file path
 * nodes). */
#include <string.h>

#include "bootloader-hooks/efi/efi.h"

#define OPTION_MAX    4096u
#define OPTION_ACTIVE 1u
#define HEAD_LEN      6u /* attributes, length of the device path */

struct text {
	uint8_t data[OPTION_MAX];
	size_t len;
	bool full;
};

static void put(struct text *text, const void *data, size_t len)
{
	if (sizeof(text->data) - text->len < len) {
		text->full = true;
		return;
	}
	memcpy(text->data + text->len, data, len);
	text->len += len;
}

static void put_number(struct text *text, uint64_t v, size_t len)
{
	uint8_t raw[8];

	le64_put(raw, v);
	put(text, raw, len);
}

/* ASCII as UCS-2, with its NUL. */
static void put_wide(struct text *text, const char *s, char slash)
{
	do
		put_number(text, *s == '/' ? (uint8_t)slash : (uint8_t)*s, 2);
	while (*s++);
}

static void put_path(struct text *text, const struct efi_partition *partition, const char *path)
{
	put_number(text, 4 | 1 << 8, 2); /* media: hard drive */
	put_number(text, 42, 2);
	put_number(text, partition->number, 4);
	put_number(text, partition->start, 8);
	put_number(text, partition->count, 8);
	put(text, partition->guid, sizeof(partition->guid));
	put_number(text, 2 | 2 << 8, 2); /* GPT, named by its GUID */
	put_number(text, 4 | 4 << 8, 2); /* media: file */
	put_number(text, 4 + 2 * (strlen(path) + 1), 2);
	put_wide(text, path, '\\');
	put_number(text, 0x7f | 0xff << 8, 2); /* the end */
	put_number(text, 4, 2);
}

int efi_option_make(const char *description, const struct efi_partition *partition,
	const char *path, const char *cmdline, struct bytes *ret, struct err *err)
{
	struct text text = {.len = 0};
	size_t path_at;

	put_number(&text, OPTION_ACTIVE, 4);
	put_number(&text, 0, 2);
	put_wide(&text, description, '/');
	path_at = text.len;
	put_path(&text, partition, path);
	le16_put(text.data + 4, (uint16_t)(text.len - path_at));
	put_wide(&text, cmdline, '/');
	if (text.full)
		return err_set(
			err, FAIL_BOOT, "the command line is longer than a boot entry takes");
	return bytes_copy(text.data, text.len, ret, err);
}

bool efi_option_description(const struct bytes *option, char ret[static EFI_DESCRIPTION_MAX])
{
	size_t n = 0;

	for (size_t at = HEAD_LEN; at + 2 <= option->len; at += 2) {
		uint16_t c = le16_get(option->data + at);

		if (n < EFI_DESCRIPTION_MAX)
			ret[n++] = (char)(c < 0x80 ? c : '?');
		if (c)
			continue;
		ret[EFI_DESCRIPTION_MAX - 1] = '\0';
		return true;
	}
	return false;
}
