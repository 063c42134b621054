/* digest: FIPS 180-4's examples, pieces against the whole, reuse, hexadecimal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "updater/digest.h"
#include "updater/mem.h"

static void assert_digest(const struct digest *digest, const char *hex)
{
	char found[DIGEST_HEX_LEN + 1];

	digest_to_hex(digest, found);
	assert_string_equal(found, hex);
}

/* NIST's examples for SHA-256 (FIPS 180-4), and the empty message. */
static void test_digest__fips_examples(void **state)
{
	static const struct {
		const char *text;
		const char *hex;
	} EXAMPLES[] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
			"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	};
	struct digest digest;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(EXAMPLES); i++) {
		assert_int_equal(
			digest_once(EXAMPLES[i].text, strlen(EXAMPLES[i].text), &digest, &err), 0);
		assert_digest(&digest, EXAMPLES[i].hex);
	}
}

static void test_digest__a_million_a_in_odd_pieces(void **state)
{
	static char piece[997];
	CLEANUP(hasher_free) struct hasher *hasher = NULL;
	struct digest digest;
	size_t left = 1000000;
	struct err err;

	(void)state;
	memset(piece, 'a', sizeof(piece));
	assert_int_equal(hasher_new(&hasher, &err), 0);
	assert_int_equal(hasher_reset(hasher, &err), 0);
	while (left > 0) {
		size_t n = left < sizeof(piece) ? left : sizeof(piece);

		assert_int_equal(hasher_update(hasher, piece, n, &err), 0);
		left -= n;
	}
	assert_int_equal(hasher_final(hasher, &digest, &err), 0);
	assert_digest(&digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void test_digest__every_split_gives_the_whole(void **state)
{
	uint8_t data[200];
	CLEANUP(hasher_free) struct hasher *hasher = NULL;
	struct digest whole;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	assert_int_equal(hasher_new(&hasher, &err), 0);
	assert_int_equal(digest_of(hasher, data, sizeof(data), &whole, &err), 0);
	for (size_t split = 0; split <= sizeof(data); split++) {
		struct digest pieces;

		assert_int_equal(hasher_reset(hasher, &err), 0);
		assert_int_equal(hasher_update(hasher, data, split, &err), 0);
		assert_int_equal(
			hasher_update(hasher, data + split, sizeof(data) - split, &err), 0);
		assert_int_equal(hasher_final(hasher, &pieces, &err), 0);
		assert_true(digest_equal(&whole, &pieces));
	}
}

static void test_digest__an_abandoned_message_leaves_nothing(void **state)
{
	CLEANUP(hasher_free) struct hasher *hasher = NULL;
	struct digest digest;
	struct err err;

	(void)state;
	assert_int_equal(hasher_new(&hasher, &err), 0);
	assert_int_equal(hasher_reset(hasher, &err), 0);
	assert_int_equal(hasher_update(hasher, "left over", 9, &err), 0);
	assert_int_equal(digest_of(hasher, "abc", 3, &digest, &err), 0);
	assert_digest(&digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_digest__equal_sees_each_byte(void **state)
{
	struct digest a = {{0}};

	(void)state;
	assert_true(digest_is_zero(&a));
	for (size_t i = 0; i < DIGEST_LEN; i++) {
		struct digest b = a;

		b.b[i] ^= 1;
		assert_false(digest_equal(&a, &b));
		assert_false(digest_is_zero(&b));
	}
}

static void test_digest__hex_is_exact_or_leaves_the_digest_alone(void **state)
{
	static const char HEX[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	char bad[DIGEST_HEX_LEN + 2];
	struct digest digest;
	struct digest kept;

	(void)state;
	assert_true(digest_from_hex(HEX, &digest));
	assert_digest(&digest, HEX);
	kept = digest;
	assert_false(digest_from_hex("", &digest));
	assert_false(digest_from_hex(HEX + 1, &digest));
	memcpy(bad, HEX, sizeof(HEX));
	bad[63] = 'g';
	assert_false(digest_from_hex(bad, &digest));
	bad[0] = 'A';
	bad[63] = 'd';
	assert_false(digest_from_hex(bad, &digest));
	memcpy(bad, "0", 1);
	memcpy(bad + 1, HEX, sizeof(HEX));
	assert_false(digest_from_hex(bad, &digest));
	assert_true(digest_equal(&digest, &kept));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digest__fips_examples),
		cmocka_unit_test(test_digest__a_million_a_in_odd_pieces),
		cmocka_unit_test(test_digest__every_split_gives_the_whole),
		cmocka_unit_test(test_digest__an_abandoned_message_leaves_nothing),
		cmocka_unit_test(test_digest__equal_sees_each_byte),
		cmocka_unit_test(test_digest__hex_is_exact_or_leaves_the_digest_alone),
	};

	return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
