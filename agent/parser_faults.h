#pragma once
/*
 * What a parser does that was taken over by its target, for tests only: this is nothing unless
 * GD_FAULTS is defined, which no build of the programs does (tests/test_agent_parser.c looks).
 */
#ifdef GD_FAULTS
/* `where` is "opening" or a collector's name; its sockets, -1 none; see tests/parser_faults.c. */
void gd_parser_fault(const char *where, int ask_fd, int sink_fd);
#else
static inline void gd_parser_fault(const char *where, int ask_fd, int sink_fd)
{
	(void)where;
	(void)ask_fd;
	(void)sink_fd;
}
#endif
