/* plan: which way an install goes, and where each chunk's bytes come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "updater/digest.h"
#include "updater/plan.h"

/* Chunks by a letter and a length: the same pair is the same chunk; 'z' is zeros. */
struct piece {
	char letter;
	uint32_t length;
};

static struct index *make_index(const struct piece *pieces, size_t count)
{
	struct index_builder *builder = NULL;
	struct bytes bytes = {0};
	struct index *index = NULL;
	uint64_t size = 0;
	struct err err;

	assert_int_equal(index_builder_new(&builder, &err), 0);
	for (size_t i = 0; i < count; i++) {
		uint8_t *data = malloc(pieces[i].length);
		struct digest digest;

		assert_non_null(data);
		memset(data, pieces[i].letter == 'z' ? 0 : pieces[i].letter, pieces[i].length);
		assert_int_equal(digest_once(data, pieces[i].length, &digest, &err), 0);
		free(data);
		assert_int_equal(index_builder_add(builder, pieces[i].length, &digest, &err), 0);
		size += pieces[i].length;
	}
	assert_int_equal(index_builder_finish(builder, &bytes, &err), 0);
	index_builder_free(&builder);
	assert_int_equal(index_parse(&bytes, size, &index, &err), 0);
	return index;
}

static struct plan_image *make_plan(
	const struct index *index, const struct index *old, uint64_t resume)
{
	const struct plan_seed seed = {.old_index = old, .resume = resume};
	struct plan_image *plan = NULL;
	struct err err;

	assert_int_equal(plan_image_make(index, &seed, &plan, &err), 0);
	return plan;
}

static void test_plan__zeros_and_repeats_are_not_fetched(void **state)
{
	const struct piece pieces[] = {
		{'a', 5000}, {'z', 65536}, {'b', 100}, {'a', 5000}, {'z', 65536}, {'a', 5001}};
	struct index *index = make_index(pieces, 6);
	struct plan_image *plan = make_plan(index, NULL, 0);
	struct plan_totals totals = plan_totals(plan, index);

	(void)state;
	assert_int_equal(plan_source(plan, 0), PLAN_FETCH);
	assert_int_equal(plan_source(plan, 1), PLAN_ZERO);
	assert_int_equal(plan_source(plan, 2), PLAN_FETCH);
	assert_int_equal(plan_source(plan, 3), PLAN_REPEAT);
	assert_int_equal(plan_repeat_of(plan, 3), 0);
	assert_int_equal(plan_source(plan, 4), PLAN_ZERO);
	assert_int_equal(plan_source(plan, 5), PLAN_FETCH);
	assert_int_equal(plan_wanted(plan)[0], 1 | 4 | 32);
	assert_int_equal(totals.fetch, 5000 + 100 + 5001);
	assert_int_equal(totals.zero, 2 * 65536);
	assert_int_equal(totals.repeat, 5000);
	plan_image_free(&plan);
	index_free(&index);
}

static void test_plan__only_same_chunks_at_same_offsets_are_in_place(void **state)
{
	const struct piece olds[] = {{'h', 8192}, {'a', 1000}, {'x', 500}, {'c', 700}};
	const struct piece news[] = {{'h', 8192}, {'a', 1000}, {'y', 500}, {'c', 700}, {'x', 500}};
	struct index *old = make_index(olds, 4);
	struct index *index = make_index(news, 5);
	struct plan_image *plan = make_plan(index, old, 0);

	(void)state;
	assert_int_equal(plan_source(plan, 0), PLAN_FETCH); /* the first block is wiped */
	assert_int_equal(plan_source(plan, 1), PLAN_IN_PLACE);
	assert_int_equal(plan_source(plan, 2), PLAN_FETCH);
	assert_int_equal(plan_source(plan, 3), PLAN_IN_PLACE);
	assert_int_equal(plan_source(plan, 4), PLAN_FETCH); /* same chunk, other offset */
	plan_refetch(plan, 3);
	assert_int_equal(plan_source(plan, 3), PLAN_FETCH);
	assert_int_equal(plan_wanted(plan)[0], 1 | 4 | 8 | 16);
	plan_image_free(&plan);
	index_free(&index);
	index_free(&old);
}

static void test_plan__resume_looks_at_what_was_written(void **state)
{
	const struct piece pieces[] = {{'a', 4096}, {'b', 4096}, {'z', 65536}, {'b', 4096}};
	struct index *index = make_index(pieces, 4);
	struct plan_image *plan = make_plan(index, NULL, 1);

	(void)state;
	assert_int_equal(plan_source(plan, 0), PLAN_FETCH);
	for (uint32_t i = 1; i < 4; i++)
		assert_int_equal(plan_source(plan, i), PLAN_IN_PLACE);
	plan_refetch(plan, 1);
	plan_refetch(plan, 2);
	plan_refetch(plan, 3);
	assert_int_equal(plan_source(plan, 1), PLAN_FETCH);
	assert_int_equal(plan_source(plan, 2), PLAN_ZERO);
	assert_int_equal(plan_source(plan, 3), PLAN_REPEAT);
	plan_image_free(&plan);
	index_free(&index);
}

static void test_plan__a_resume_has_a_limit(void **state)
{
	enum { COUNT = 2100 }; /* 131 MiB in chunks of 64 KiB */
	struct piece *pieces = calloc(COUNT, sizeof(*pieces));
	struct index *index;
	struct plan_image *plan;

	(void)state;
	assert_non_null(pieces);
	for (int i = 0; i < COUNT; i++)
		pieces[i] = (struct piece){(char)('a' + i % 20), 65536};
	index = make_index(pieces, COUNT);
	plan = make_plan(index, NULL, 1);
	assert_int_equal(plan_source(plan, 100), PLAN_IN_PLACE);
	assert_int_equal(plan_source(plan, COUNT - 1), PLAN_REPEAT);
	plan_image_free(&plan);
	index_free(&index);
	free(pieces);
}

static void test_plan__chunks_of_a_seed_are_found_at_any_offset(void **state)
{
	const struct piece olds[] = {
		{'x', 500}, {'b', 8000}, {'a', 5000}, {'z', 4096}, {'a', 5000}};
	const struct piece news[] = {
		{'a', 5000}, {'n', 100}, {'b', 8000}, {'z', 4096}, {'a', 5000}, {'b', 8001}};
	struct index *old = make_index(olds, 5);
	struct index *index = make_index(news, 6);
	struct plan_image *plan = make_plan(index, NULL, 0);
	struct plan_totals totals;
	uint64_t offset = 0;
	struct err err;

	(void)state;
	assert_int_equal(plan_image_add_seed(plan, index, old, 3, &err), 0);
	plan_image_end_seeds(plan);
	assert_int_equal(plan_source(plan, 0), PLAN_SEED);
	assert_int_equal(plan_seed_of(plan, 0, &offset), 3);
	assert_int_equal(offset, 8500);
	assert_int_equal(plan_source(plan, 1), PLAN_FETCH);
	assert_int_equal(plan_source(plan, 2), PLAN_SEED);
	assert_int_equal(plan_seed_of(plan, 2, &offset), 3);
	assert_int_equal(offset, 500);
	assert_int_equal(plan_source(plan, 3), PLAN_ZERO);
	assert_int_equal(plan_source(plan, 4), PLAN_REPEAT);
	assert_int_equal(plan_source(plan, 5), PLAN_FETCH);
	assert_int_equal(plan_wanted(plan)[0], 2 | 32);
	totals = plan_totals(plan, index);
	assert_int_equal(totals.seed, 13000);
	assert_int_equal(totals.fetch, 100 + 8001);
	plan_refetch(plan, 2);
	assert_int_equal(plan_source(plan, 2), PLAN_FETCH);
	plan_image_free(&plan);
	index_free(&index);
	index_free(&old);
}

/* What is behind the writer is gone, and so is the first block. */
static void test_plan__the_target_is_a_seed_only_ahead_of_the_writer(void **state)
{
	const struct piece olds[] = {
		{'h', 1000}, {'a', 7192}, {'b', 8192}, {'c', 8192}, {'d', 8192}};
	const struct piece news[] = {
		{'h', 1000}, {'c', 8192}, {'x', 20000}, {'b', 8192}, {'d', 8192}, {'a', 7192}};
	struct index *old = make_index(olds, 5);
	struct index *index = make_index(news, 6);
	struct plan_image *plan = make_plan(index, old, 0);
	uint64_t offset = 0;
	struct err err;

	(void)state;
	assert_int_equal(plan_image_add_seed(plan, index, old, PLAN_SELF, &err), 0);
	assert_int_equal(plan_source(plan, 0), PLAN_FETCH); /* wiped */
	assert_int_equal(plan_source(plan, 1), PLAN_MOVED);
	assert_int_equal(plan_seed_of(plan, 1, &offset), PLAN_SELF);
	assert_int_equal(offset, 16384);
	assert_int_equal(plan_source(plan, 3), PLAN_FETCH); /* 8192 is overwritten by then */
	assert_int_equal(plan_source(plan, 4), PLAN_FETCH);
	assert_int_equal(plan_source(plan, 5), PLAN_FETCH);
	assert_int_equal(plan_totals(plan, index).moved, 8192);
	/* Another seed has them. */
	assert_int_equal(plan_image_add_seed(plan, index, old, 1, &err), 0);
	assert_int_equal(plan_source(plan, 1), PLAN_MOVED);
	assert_int_equal(plan_source(plan, 3), PLAN_SEED);
	assert_int_equal(plan_source(plan, 0), PLAN_SEED);
	plan_image_free(&plan);
	index_free(&index);
	index_free(&old);
}

static void test_plan__in_place_comes_before_a_seed_and_falls_back_to_it(void **state)
{
	const struct piece pieces[] = {{'h', 8192}, {'a', 8192}};
	struct index *index = make_index(pieces, 2);
	struct plan_image *plan = make_plan(index, index, 0);
	struct err err;

	(void)state;
	assert_int_equal(plan_image_add_seed(plan, index, index, 1, &err), 0);
	assert_int_equal(plan_source(plan, 0), PLAN_SEED);
	assert_int_equal(plan_source(plan, 1), PLAN_IN_PLACE);
	plan_refetch(plan, 1);
	assert_int_equal(plan_source(plan, 1), PLAN_SEED);
	plan_refetch(plan, 1);
	assert_int_equal(plan_source(plan, 1), PLAN_FETCH);
	plan_image_free(&plan);
	index_free(&index);
}

static void test_plan__action_for_every_place_of_the_artifact(void **state)
{
	const struct digest x = {.b = {1}}, y = {.b = {2}};
	struct group_facts facts[2] = {
		{.seal = SEAL_SEALED, .artifact = x, .proven = true},
		{.seal = SEAL_SEALED, .artifact = y, .proven = true},
	};
	struct state now = {.now = STATE_IDLE,
		.booted = GROUP_A,
		.target = GROUP_B,
		.next = GROUP_A,
		.next_known = true};

	(void)state;
	assert_int_equal(plan_action(&now, facts, &x), PLAN_NOTHING);
	assert_int_equal(plan_action(&now, facts, &y), PLAN_ACTIVATE);
	facts[1].proven = false;
	assert_int_equal(plan_action(&now, facts, &y), PLAN_WRITE);
	facts[1].proven = true;
	facts[1].seal = SEAL_WRITING;
	assert_int_equal(plan_action(&now, facts, &y), PLAN_WRITE);
	facts[1].seal = SEAL_SEALED;
	now.now = STATE_ACTIVATED;
	now.next = GROUP_B;
	assert_int_equal(plan_action(&now, facts, &y), PLAN_NOTHING);
	assert_int_equal(plan_action(&now, facts, &x), PLAN_DEACTIVATE);
	facts[1].artifact = (struct digest){.b = {3}};
	assert_int_equal(plan_action(&now, facts, &y), PLAN_WRITE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plan__zeros_and_repeats_are_not_fetched),
		cmocka_unit_test(test_plan__only_same_chunks_at_same_offsets_are_in_place),
		cmocka_unit_test(test_plan__resume_looks_at_what_was_written),
		cmocka_unit_test(test_plan__a_resume_has_a_limit),
		cmocka_unit_test(test_plan__chunks_of_a_seed_are_found_at_any_offset),
		cmocka_unit_test(test_plan__the_target_is_a_seed_only_ahead_of_the_writer),
		cmocka_unit_test(test_plan__in_place_comes_before_a_seed_and_falls_back_to_it),
		cmocka_unit_test(test_plan__action_for_every_place_of_the_artifact),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
