#pragma once
/*
 * How a Go release spells a function's name for people, and which functions it keeps out of
 * tracebacks.  Source: runtime/traceback.go of 1.18 to 1.27 (printFuncName, showfuncinfo,
 * isExportedRuntime, elideWrapperCalling).
 */
#include <stdbool.h>

#include "base/buf.h"

/* "main.f[go.shape.int]" is "main.f[...]"; runtime.gopanic is "panic".  Escaped.  Appends. */
void gd_funcname_put(int minor, const char *name, struct gd_buf *out);

/* The same without the special name of runtime.gopanic, raw: as runtime.Frame.Function has it. */
void gd_funcname_put_raw(int minor, const char *name, struct gd_buf *out);

/* Is a frame of it shown (wherever it stands, and if it is not a wrapper)? */
bool gd_funcname_shown(int minor, const char *name);

/* Does a call of it raise a panic, so that a wrapper which calls it is shown? */
bool gd_funcname_raises_panic(const char *name);
