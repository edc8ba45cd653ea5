#pragma once
/*
 * Where an --upload URL points, taken apart.  Knows the forms in uploader.h and nothing of requests.
 */
#include <stdbool.h>

#include "base/error.h"

struct gd_place {
	bool is_directory;     /* file:// */
	char directory[2048];
	bool tls;              /* the rest: an S3 endpoint */
	char host[512];        /* "s3.eu-west-1.amazonaws.com", "127.0.0.1:7070": the Host header */
	char bucket[64];       /* part of the path ("" when it is part of the host name) */
	char prefix[1024];     /* raw, without leading slash; "" or ending in "/" */
	char region[64];
};

/* Reads AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION for s3:// forms. */
int gd_place_parse(const char *url, struct gd_place *ret, struct gd_error *err);
