#pragma once
/*
 * CRC-32C (Castagnoli; RFC 3720 appendix B.4): finds torn and flipped bytes in journals and records.
 * No protection against anybody who means it.
 */
#include <stddef.h>
#include <stdint.h>

/* Of n more bytes; begin with crc 0.  Uses the CPU's instruction where it has one. */
uint32_t gd_crc32c(uint32_t crc, const void *bytes, size_t n);

/* The same without that instruction; for the test that both agree. */
uint32_t gd_crc32c_table(uint32_t crc, const void *bytes, size_t n);
