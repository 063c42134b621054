/* ovmf: the variables of a firmware's flash, in the states that a power cut leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "qemu/ovmf.h"
#include "tests/must.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define OVMF_VARS "/usr/share/OVMF/OVMF_VARS_4M.fd"
#define FIRST     0x64u /* where the first variable goes */

/* A variable in the state `state` at `at` of the flash; where the next one goes. */
static size_t put_variable(uint8_t *flash, size_t at, uint8_t state, const char *name, char value)
{
	static const uint8_t HEAD[] = {0xaa, 0x55, 0xff, 0, 7, 0, 0, 0};
	static const uint8_t GLOBAL[] = {0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d,
		0, 0xe0, 0x98, 0x03, 0x2b, 0x8c};
	uint8_t *variable = flash + at;
	size_t units = strlen(name) + 1;

	memset(variable, 0, 60);
	memcpy(variable, HEAD, sizeof(HEAD));
	variable[2] = state;
	le32_put(variable + 36, (uint32_t)(2 * units));
	le32_put(variable + 40, 1);
	memcpy(variable + 44, GLOBAL, sizeof(GLOBAL));
	for (size_t i = 0; i < units; i++)
		le16_put(variable + 60 + 2 * i, (uint8_t)name[i]);
	variable[60 + 2 * units] = (uint8_t)value;
	return at + (size_t)round_up(60 + 2 * units + 1, 4);
}

static struct bytes new_flash(void)
{
	struct bytes flash = {0};
	struct err err = {0};

	must(fs_read_file(OVMF_VARS, OVMF_FLASH_LEN, &flash, &err), &err);
	assert_int_equal(flash.len, OVMF_FLASH_LEN);
	return flash;
}

/* '-': there is none. */
static char value_of(const struct bytes *flash, const char *name)
{
	const struct rawspan span = {flash->data, flash->len, 0};
	struct err err = {0};
	char value = 0;
	size_t len;
	bool there;

	must(ovmf_variable(&span, name, &value, 1, &len, &there, &err), &err);
	return there ? value : '-';
}

static void test_ovmf__the_variable_that_the_firmware_would_find(void **state)
{
	CLEANUP(bytes_finish) struct bytes flash = new_flash();
	size_t at, second;

	(void)state;
	assert_int_equal(value_of(&flash, "BootNext"), '-');
	at = put_variable(flash.data, FIRST, 0x3f, "BootNext", '1');
	second = put_variable(flash.data, at, 0x3f, "BootOrder", '2');
	assert_int_equal(value_of(&flash, "BootNext"), '1');
	assert_int_equal(value_of(&flash, "BootOrder"), '2');
	assert_int_equal(value_of(&flash, "Boot"), '-');
	/* A change, step by step: the old one counts until the new one is whole. */
	flash.data[FIRST + 2] = 0x3e;
	assert_int_equal(value_of(&flash, "BootNext"), '1');
	(void)put_variable(flash.data, second, 0xff, "BootNext", '3');
	assert_int_equal(value_of(&flash, "BootNext"), '1');
	flash.data[second + 2] = 0x7f;
	assert_int_equal(value_of(&flash, "BootNext"), '1');
	flash.data[second + 2] = 0x3f;
	assert_int_equal(value_of(&flash, "BootNext"), '3');
	flash.data[FIRST + 2] = 0x3c;
	assert_int_equal(value_of(&flash, "BootNext"), '3');
	/* Removed. */
	flash.data[second + 2] = 0x3d;
	assert_int_equal(value_of(&flash, "BootNext"), '-');
	assert_int_equal(value_of(&flash, "BootOrder"), '2');
}

/* A header that was cut off has no lengths yet: what was written after it is found. */
static void test_ovmf__header_that_was_cut_off_is_passed_over(void **state)
{
	CLEANUP(bytes_finish) struct bytes flash = new_flash();

	(void)state;
	flash.data[FIRST] = 0xaa;
	flash.data[FIRST + 1] = 0x55;
	assert_int_equal(value_of(&flash, "BootNext"), '-');
	(void)put_variable(flash.data, FIRST + 60, 0x3f, "BootNext", '1');
	assert_int_equal(value_of(&flash, "BootNext"), '1');
	/* Lengths that lead out of the store. */
	flash.data[FIRST + 2] = 0x3f;
	memset(flash.data + FIRST + 4, 0, 4);
	le32_put(flash.data + FIRST + 36, 0x7fffffff);
	assert_int_equal(value_of(&flash, "BootNext"), '-');
}

static void test_ovmf__what_it_does_not_follow_is_told(void **state)
{
	CLEANUP(bytes_finish) struct bytes flash = new_flash();
	const struct rawspan span = {flash.data, flash.len, 0}, shorter = {flash.data, 4096, 0};
	struct err err = {0};
	char value[4];
	size_t len;
	bool there;

	(void)state;
	(void)put_variable(flash.data, FIRST, 0x3f, "BootNext", '1');
	assert_int_equal(ovmf_variable(&span, "BootNext", value, 0, &len, &there, &err), -1);
	assert_non_null(strstr(err.msg, "'BootNext' has 1 bytes"));
	assert_int_equal(ovmf_variable(&shorter, "BootNext", value, 4, &len, &there, &err), -1);
	assert_non_null(strstr(err.msg, "no variables of OVMF's"));
	flash.data[0x41020] = 0xfe;
	assert_int_equal(ovmf_variable(&span, "BootNext", value, 4, &len, &there, &err), -1);
	assert_non_null(strstr(err.msg, "has begun to move"));
	flash.data[0x48] ^= 1;
	assert_int_equal(ovmf_variable(&span, "BootNext", value, 4, &len, &there, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
	assert_non_null(strstr(err.msg, "no variables of OVMF's"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ovmf__the_variable_that_the_firmware_would_find),
		cmocka_unit_test(test_ovmf__header_that_was_cut_off_is_passed_over),
		cmocka_unit_test(test_ovmf__what_it_does_not_follow_is_told),
	};

	return cmocka_run_group_tests_name("ovmf", tests, NULL, NULL);
}
