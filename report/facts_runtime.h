#pragma once
/* runtime.json's part of the facts; foreign text. */
#include "report/facts.h"

void gd_facts_runtime(const char *json, size_t n, struct gd_facts *facts);
