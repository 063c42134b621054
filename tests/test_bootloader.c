/* bootloader: the value, and that calls reach the hook. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bootloader-hooks/bootloader.h"

struct fake {
	struct bootloader bl;
	struct boot_state state;
	unsigned int freed;
};

static int fake_read(struct bootloader *bl, struct boot_state *ret, struct err *err)
{
	(void)err;
	*ret = ((struct fake *)bl)->state;
	return 0;
}

static int fake_commit(struct bootloader *bl, const struct boot_state *state, struct err *err)
{
	(void)err;
	((struct fake *)bl)->state = *state;
	return 0;
}

static void fake_free(struct bootloader *bl)
{
	((struct fake *)bl)->freed++;
}

static const struct bootloader_ops FAKE = {"fake", fake_read, fake_commit, fake_free, 0};

static void test_tries__as_many_as_it_can_count(void **state)
{
	const struct bootloader_ops once = {.name = "once", .tries_max = 1};
	const struct bootloader any = {.ops = &FAKE}, one = {.ops = &once};

	(void)state;
	assert_int_equal(bootloader_tries(&any, 9), 9);
	assert_int_equal(bootloader_tries(&one, 9), 1);
	assert_int_equal(bootloader_tries(&one, 1), 1);
}

static void test_read__forgets_an_old_note(void **state)
{
	struct fake fake = {.bl = {.ops = &FAKE, .note = "old news"}};
	const struct boot_state next = {
		.group = {{.good = true}, {.tries = 2}}, .primary = GROUP_B};
	struct boot_state found;
	struct err err;

	(void)state;
	assert_int_equal(bootloader_commit(&fake.bl, &next, &err), 0);
	assert_int_equal(bootloader_read(&fake.bl, &found, &err), 0);
	assert_true(boot_state_equal(&found, &next));
	assert_string_equal(fake.bl.note, "");
}

static void test_close__takes_null_and_closes_once(void **state)
{
	struct fake fake = {.bl = {.ops = &FAKE}};
	struct bootloader *bl = &fake.bl;

	(void)state;
	bootloader_close(NULL);
	bootloader_close(&bl);
	assert_null(bl);
	bootloader_close(&bl);
	assert_int_equal(fake.freed, 1);
}

static void test_equal__sees_every_field(void **state)
{
	const struct boot_state base = {.group = {{.good = true}, {.tries = 2}}};
	struct boot_state other = base;

	(void)state;
	assert_true(boot_state_equal(&base, &other));
	other.primary = GROUP_B;
	assert_false(boot_state_equal(&base, &other));
	other = base;
	other.group[GROUP_A].good = false;
	assert_false(boot_state_equal(&base, &other));
	other = base;
	other.group[GROUP_B].tries = 1;
	assert_false(boot_state_equal(&base, &other));
	other = base;
	other.group[GROUP_B] = (struct boot_group){.bad = true};
	assert_false(boot_state_equal(&base, &other));
}

static void test_bootable__good_or_with_tries(void **state)
{
	(void)state;
	assert_true(boot_group_bootable(&(struct boot_group){.good = true}));
	assert_true(boot_group_bootable(&(struct boot_group){.tries = 1}));
	assert_false(boot_group_bootable(&(struct boot_group){.bad = true}));
	assert_false(boot_group_bootable(&(struct boot_group){.tries = 0}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tries__as_many_as_it_can_count),
		cmocka_unit_test(test_read__forgets_an_old_note),
		cmocka_unit_test(test_close__takes_null_and_closes_once),
		cmocka_unit_test(test_equal__sees_every_field),
		cmocka_unit_test(test_bootable__good_or_with_tries),
	};

	return cmocka_run_group_tests_name("bootloader", tests, NULL, NULL);
}
