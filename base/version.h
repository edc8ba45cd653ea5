#pragma once
/* The release, as written into every snapshot.json. */
#define GD_VERSION "0.1.0"
