/* mem: numbers, hexadecimal, printable copies, rounding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "updater/mem.h"

static void test_le__round_trip_and_byte_order(void **state)
{
	uint8_t buf[8];

	(void)state;
	le64_put(buf, UINT64_C(0x8877665544332211));
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(buf[i], 0x11 * (i + 1));
	assert_true(le64_get(buf) == UINT64_C(0x8877665544332211));
	assert_int_equal(le32_get(buf), 0x44332211);
	assert_int_equal(le16_get(buf + 6), 0x8877);
}

static void test_hex__refuses_all_but_exact_lower_case(void **state)
{
	uint8_t out[2] = {0};
	char text[5];

	(void)state;
	hex_encode((const uint8_t *)"\xab\x01", 2, text);
	assert_string_equal(text, "ab01");
	assert_true(hex_decode("ab01", out, 2));
	assert_memory_equal(out, "\xab\x01", 2);
	assert_false(hex_decode("AB01", out, 2));
	assert_false(hex_decode("ab0", out, 2));
	assert_false(hex_decode("ab011", out, 2));
	assert_false(hex_decode("ab0g", out, 2));
}

static void test_printable__no_escape_reaches_a_terminal(void **state)
{
	char out[8];

	(void)state;
	mem_printable("a\x1b[2J\n\xff", 7, out, sizeof(out));
	assert_string_equal(out, "a?[2J??");
	mem_printable("0123456789", 10, out, sizeof(out));
	assert_string_equal(out, "0123456");
}

static void test_round_up__saturates(void **state)
{
	(void)state;
	assert_true(round_up(0, 4096) == 0);
	assert_true(round_up(1, 4096) == 4096);
	assert_true(round_up(4096, 4096) == 4096);
	assert_true(round_up(UINT64_MAX - 1, 4096) == UINT64_MAX);
}

static void test_is_zero__sees_the_last_byte(void **state)
{
	uint8_t buf[100] = {0};

	(void)state;
	assert_true(mem_is_zero(buf, sizeof(buf)));
	assert_true(mem_is_zero(buf, 0));
	buf[99] = 1;
	assert_false(mem_is_zero(buf, sizeof(buf)));
	buf[99] = 0;
	buf[0] = 1;
	assert_false(mem_is_zero(buf, sizeof(buf)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_le__round_trip_and_byte_order),
		cmocka_unit_test(test_hex__refuses_all_but_exact_lower_case),
		cmocka_unit_test(test_printable__no_escape_reaches_a_terminal),
		cmocka_unit_test(test_round_up__saturates),
		cmocka_unit_test(test_is_zero__sees_the_last_byte),
	};

	return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
