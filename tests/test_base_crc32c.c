#include "base/crc32c.h"

#include <string.h>

#include "tests/test.h"

/* RFC 3720, appendix B.4. */
static void the_vectors_of_the_rfc_hold(void **state)
{
	(void)state;
	uint8_t bytes[32];
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(gd_crc32c(0, bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(gd_crc32c(0, bytes, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(gd_crc32c(0, bytes, 32), 0x46dd794e);
	for (unsigned i = 0; i < 32; i++)
		bytes[i] = (uint8_t)(31 - i);
	assert_int_equal(gd_crc32c(0, bytes, 32), 0x113fdb5c);
	assert_int_equal(gd_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(gd_crc32c(0, "", 0), 0);
}

static void instruction_and_table_agree_in_any_pieces(void **state)
{
	(void)state;
	uint8_t bytes[300];
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37 + (i >> 3));
	for (size_t n = 0; n < sizeof(bytes); n++) {
		uint32_t whole = gd_crc32c(0, bytes, n);
		assert_int_equal(whole, gd_crc32c_table(0, bytes, n));
		size_t half = n / 3;
		uint32_t pieces = gd_crc32c(gd_crc32c(0, bytes, half), bytes + half, n - half);
		assert_int_equal(whole, pieces);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(the_vectors_of_the_rfc_hold),
		test_case(instruction_and_table_agree_in_any_pieces),
	};
	return test_run(tests);
}
