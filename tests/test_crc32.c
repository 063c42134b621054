#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "updater/crc32.h"

/* The check value that every description of this CRC has. */
static const char CHECK[] = "123456789";

static void test_crc32__is_the_usual_one(void **state)
{
	(void)state;
	assert_int_equal(crc32_add(0, CHECK, 9), 0xcbf43926);
	assert_int_equal(crc32_add(0, CHECK, 0), 0);
	/* Zeros at the end count, too. */
	assert_int_equal(crc32_add(0, "\0\0\0\0", 4), 0x2144df1c);
}

static void test_crc32__goes_on_where_it_stopped(void **state)
{
	(void)state;
	for (size_t cut = 0; cut <= 9; cut++)
		assert_int_equal(
			crc32_add(crc32_add(0, CHECK, cut), CHECK + cut, 9 - cut), 0xcbf43926);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32__is_the_usual_one),
		cmocka_unit_test(test_crc32__goes_on_where_it_stopped),
	};

	return cmocka_run_group_tests_name("crc32", tests, NULL, NULL);
}
