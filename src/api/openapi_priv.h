/* What the files behind /openapi.json share. */
#ifndef KOAN_API_OPENAPI_PRIV_H
#define KOAN_API_OPENAPI_PRIV_H

#include "base/json.h"
#include "entity/def.h"

/* The schemas of one entity's records: NAME as read, NAME.Input as written, NAME.Patch,
 * NAME.Filter. */
void openapi_add_schemas(json_t *schemas, const struct entity_def *d);
/* bind_status()'s "routes", into "paths". */
void openapi_add_routes(json_t *paths, const json_t *routes);

#endif
