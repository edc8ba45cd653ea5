#include "tests/test.h"

#include <string.h>
#include <sys/socket.h>

#include "collectors/proc_net.h"

static bool inet(const char *line, bool v6, struct gd_proc_net_inet *ret)
{
	return gd_proc_net_parse_inet(line, strlen(line), v6, ret);
}

static void a_tcp_line_is_taken_apart(void **state)
{
	(void)state;
	struct gd_proc_net_inet s;
	assert_true(inet("   3: 0100007F:1F90 0200A8C0:C001 01 0000000A:00000010 02:000004B1 00000003"
	                 "  1000        0 4294967299 1 0000000000000000 20 4 30 10 -1",
	                 false, &s));
	assert_string_equal(s.local, "127.0.0.1:8080");
	assert_string_equal(s.remote, "192.168.0.2:49153");
	assert_memory_equal(s.from.bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01", 16);
	assert_memory_equal(s.to.bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\xa8\0\x02", 16);
	assert_int_equal(s.from.port, 8080);
	assert_int_equal(s.to.port, 49153);
	assert_string_equal(gd_proc_net_state(s.state), "ESTABLISHED");
	assert_int_equal(s.tx_queue, 10);
	assert_int_equal(s.rx_queue, 16);
	assert_int_equal(s.timer, 2);
	assert_int_equal(s.retransmits, 3);
	assert_int_equal(s.inode, UINT64_C(4294967299));
}

static void an_ipv6_line_is_taken_apart(void **state)
{
	(void)state;
	struct gd_proc_net_inet s;
	assert_true(inet("  10: 00000000000000000000000001000000:0050 "
	                 "B80D0120000000000000000001000000:01BB 0A 00000000:00000000 00:00000000 "
	                 "00000000     0        0 77 1 0",
	                 true, &s));
	assert_string_equal(s.local, "[::1]:80");
	assert_string_equal(s.remote, "[2001:db8::1]:443");
	assert_memory_equal(s.from.bytes, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
	assert_memory_equal(s.to.bytes, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
	assert_int_equal(s.to.port, 443);
	assert_string_equal(gd_proc_net_state(s.state), "LISTEN");
}

static void headings_and_nonsense_are_passed_over(void **state)
{
	(void)state;
	struct gd_proc_net_inet s;
	struct gd_proc_net_unix u;
	static const char *const lines[] = {
		"",
		"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt",
		"   0: 0100007F",
		"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0",
		"   0: 01007F:1F90 00000000:0000 0A 0:0 00:00 00 0 0 5",
		"   0: 0100007F:1F90 00000000:0000 0A 0:0 00:00 00 0 0 99999999999999999999999",
		"Num       RefCount Protocol Flags    Type St Inode Path",
		"0000000000000000: 00000002 00000000",
	};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_false(inet(lines[i], false, &s));
		assert_false(inet(lines[i], true, &s));
		assert_false(gd_proc_net_parse_unix(lines[i], strlen(lines[i]), &u));
	}
	assert_null(gd_proc_net_state(0));
	assert_null(gd_proc_net_state(99));
}

static void a_unix_line_is_taken_apart(void **state)
{
	(void)state;
	struct gd_proc_net_unix u;
	static const char named[] =
		"0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a b.sock";
	static const char unnamed[] = "ffff8880: 00000003 00000000 00000000 0002 03 99";
	assert_true(gd_proc_net_parse_unix(named, strlen(named), &u));
	assert_true(u.listening);
	assert_int_equal(u.type, SOCK_STREAM);
	assert_int_equal(u.inode, 12345);
	assert_int_equal(u.path_len, 13);
	assert_memory_equal(u.path, "/run/a b.sock", 13);
	assert_true(gd_proc_net_parse_unix(unnamed, strlen(unnamed), &u));
	assert_false(u.listening);
	assert_int_equal(u.state, 3);
	assert_int_equal(u.path_len, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		test_case(a_tcp_line_is_taken_apart),
		test_case(an_ipv6_line_is_taken_apart),
		test_case(headings_and_nonsense_are_passed_over),
		test_case(a_unix_line_is_taken_apart),
	};
	return test_run(tests);
}
