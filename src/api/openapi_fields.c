/* Declared fields as JSON schemas. */
#include "api/openapi_priv.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

static json_t *openapi_type(const char *type, const char *format)
{
    return format != NULL ? json_pack("{s:s, s:s}", "type", type, "format", format)
                          : json_pack("{s:s}", "type", type);
}

static void openapi_bounds(json_t *o, const struct entity_field *f, const char *least,
                           const char *most)
{
    if (f->has_min)
        json_object_set_new(o, least, json_integer(f->min_int));
    if (f->has_max)
        json_object_set_new(o, most, json_integer(f->max_int));
}

static json_t *openapi_text(const struct entity_field *f, const char *format)
{
    json_t *o = openapi_type("string", format);
    if (f->kind == KIND_TEXT)
        openapi_bounds(o, f, "minLength", "maxLength");
    if (f->pattern_text != NULL)
        json_object_set_new(o, "pattern", json_sprintf("^(?:%s)$", f->pattern_text));
    return o;
}

static json_t *openapi_number(const struct entity_field *f)
{
    json_t *o = openapi_type(f->kind == KIND_INT ? "integer" : "number",
                             f->kind == KIND_INT ? "int64" : "double");
    if (f->kind == KIND_INT)
        openapi_bounds(o, f, "minimum", "maximum");
    if (f->kind == KIND_NUMBER && f->has_min)
        json_object_set_new(o, "minimum", json_real(f->min_number));
    if (f->kind == KIND_NUMBER && f->has_max)
        json_object_set_new(o, "maximum", json_real(f->max_number));
    return o;
}

static json_t *openapi_choice(const struct entity_field *f)
{
    json_t *values = json_array();
    for (size_t i = 0; i < f->choices_count; i++)
        json_array_append_new(values, json_string(f->choices[i]));
    return json_pack("{s:s, s:o}", "type", "string", "enum", values);
}

static json_t *openapi_geo(void)
{
    return json_pack("{s:s, s:[s,s], s:b, s:{s:{s:s,s:i,s:i}, s:{s:s,s:i,s:i}}}", "type", "object",
                     "required", "lat", "lon", "additionalProperties", 0, "properties", "lat",
                     "type", "number", "minimum", -90, "maximum", 90, "lon", "type", "number",
                     "minimum", -180, "maximum", 180);
}

static json_t *openapi_value(const struct entity_field *f)
{
    json_t *o;
    if (f == NULL)
        return json_object();
    switch (f->kind) {
    case KIND_TEXT:
        return openapi_text(f, NULL);
    case KIND_EMAIL:
        return openapi_text(f, "email");
    case KIND_URL:
        return openapi_text(f, "uri");
    case KIND_INT:
    case KIND_NUMBER:
        return openapi_number(f);
    case KIND_DECIMAL:
        return json_pack("{s:s, s:s, s:s}", "type", "string", "format", "decimal", "description",
                         "Exact, up to 38 digits.");
    case KIND_BOOL:
        return openapi_type("boolean", NULL);
    case KIND_TIME:
        return openapi_type("string", "date-time");
    case KIND_DATE:
        return openapi_type("string", "date");
    case KIND_UUID:
        return openapi_type("string", "uuid");
    case KIND_REF:
        return json_pack("{s:s, s:o}", "type", "string", "description",
                         json_sprintf("Id of a record of %s.", f->to));
    case KIND_CHOICE:
        return openapi_choice(f);
    case KIND_GEO:
        return openapi_geo();
    case KIND_BYTES:
        return json_pack("{s:s, s:s}", "type", "string", "contentEncoding", "base64");
    case KIND_LIST:
        o = json_pack("{s:s, s:o}", "type", "array", "items", openapi_value(f->of));
        openapi_bounds(o, f, "minItems", "maxItems");
        return o;
    case KIND_MAP:
        o = json_pack("{s:s, s:o}", "type", "object", "additionalProperties", openapi_value(f->of));
        openapi_bounds(o, f, "minProperties", "maxProperties");
        return o;
    case KIND_JSON:
        return json_object();
    case KIND_COUNT:
        break;
    }
    PANIC("kind %d", (int)f->kind);
}

static json_t *openapi_null(void)
{
    return openapi_type("null", NULL);
}

/* What a filter compares the field with: a value, null, or operators. */
static json_t *openapi_condition(const struct entity_field *f)
{
    const struct entity_field *leaf = f;
    while (leaf != NULL && leaf->kind == KIND_LIST)
        leaf = leaf->of;
    json_t *any = json_pack("[{s:s}]", "$ref", "#/components/schemas/koan.Operators");
    if (leaf == NULL || leaf->kind >= KIND_GEO)
        json_array_append_new(
            any, json_pack("{s:[s,s,s,s]}", "type", "string", "number", "boolean", "null"));
    else
        json_array_append_new(any, json_pack("{s:[s,s]}", "type",
                                             leaf->kind == KIND_BOOL ? "boolean"
                                             : leaf->kind == KIND_INT || leaf->kind == KIND_NUMBER
                                                 ? "number"
                                                 : "string",
                                             "null"));
    if (f->kind == KIND_LIST)
        json_array_append_new(any, openapi_type("array", NULL));
    return json_pack("{s:o}", "anyOf", any);
}

static json_t *openapi_object(json_t *properties, json_t *required)
{
    json_t *o = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
    if (json_array_size(required) > 0)
        json_object_set(o, "required", required);
    json_decref(required);
    return o;
}

static void openapi_system(json_t *properties, json_t *required)
{
    static const struct {
        const char *name, *type, *format;
    } fields[] = {{"version", "integer", "int64"},
                  {"created_at", "string", "date-time"},
                  {"updated_at", "string", "date-time"},
                  {"created_by", "string", NULL},
                  {"updated_by", "string", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        json_t *o = openapi_type(fields[i].type, fields[i].format);
        json_object_set_new(o, "readOnly", json_true());
        json_object_set_new(properties, fields[i].name, o);
        json_array_append_new(required, json_string(fields[i].name));
    }
}

static json_t *openapi_id(void)
{
    return json_pack("{s:s, s:i, s:i}", "type", "string", "minLength", 1, "maxLength",
                     ENTITY_ID_MAX);
}

static json_t *openapi_record(const struct entity_def *d)
{
    json_t *properties = json_pack("{s:o}", "id", openapi_id()), *required = json_pack("[s]", "id");
    for (size_t i = 0; i < d->fields_count; i++) {
        const struct entity_field *f = &d->fields[i];
        json_object_set_new(properties, f->name, openapi_value(f));
        if (f->required)
            json_array_append_new(required, json_string(f->name));
    }
    openapi_system(properties, required);
    json_t *o = openapi_object(properties, required);
    if (d->view)
        json_object_set_new(o, "description", json_string("Reads add what its view computes."));
    return o;
}

static json_t *openapi_input(const struct entity_def *d)
{
    json_t *properties = json_pack("{s:o}", "id", openapi_id()), *required = json_array();
    for (size_t i = 0; i < d->fields_count; i++) {
        const struct entity_field *f = &d->fields[i];
        json_t *v = openapi_value(f);
        /* As words: makers of clients take what has a default for something always given. */
        if (f->default_json != NULL)
            json_object_set_new(v, "description", json_sprintf("Default: %s", f->default_json));
        else if (f->required)
            json_array_append_new(required, json_string(f->name));
        json_object_set_new(properties, f->name, v);
    }
    return openapi_object(properties, required);
}

static json_t *openapi_patch(const struct entity_def *d)
{
    json_t *properties = json_object();
    for (size_t i = 0; i < d->fields_count; i++) {
        json_t *v = openapi_value(&d->fields[i]);
        if (d->fields[i].kind != KIND_JSON) /* there null is among anything */
            v = json_pack("{s:[o,o]}", "anyOf", v, openapi_null());
        json_object_set_new(properties, d->fields[i].name, v);
    }
    json_t *o = openapi_object(properties, json_array());
    json_object_set_new(o, "description", json_string("Fields to change; null removes."));
    return o;
}

static json_t *openapi_filter(const struct entity_def *d, const char *name)
{
    static const char *const groups[] = {"$and", "$or", "$nor"};
    json_t *properties = json_object();
    json_object_set_new(properties, "id",
                        openapi_condition(&(struct entity_field){.kind = KIND_TEXT}));
    for (size_t i = 0; i < d->fields_count; i++)
        json_object_set_new(properties, d->fields[i].name, openapi_condition(&d->fields[i]));
    json_t *self = json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%s", name));
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        json_object_set_new(
            properties, groups[i],
            json_pack("{s:s, s:i, s:O}", "type", "array", "minItems", 1, "items", self));
    json_object_set_new(properties, "$not", self);
    json_object_set_new(properties, "$options",
                        json_pack("{s:s}", "$ref", "#/components/schemas/koan.FilterOptions"));
    json_t *o = openapi_object(properties, json_array());
    json_object_set_new(o, "description",
                        json_string("All members must hold. A name may be a dotted path."));
    json_object_set_new(o, "additionalProperties", json_object());
    return o;
}

void openapi_add_schemas(json_t *schemas, const struct entity_def *d)
{
    char name[ENTITY_NAME_MAX + 16];
    json_object_set_new(schemas, d->name, openapi_record(d));
    snprintf(name, sizeof name, "%s.Input", d->name);
    json_object_set_new(schemas, name, openapi_input(d));
    snprintf(name, sizeof name, "%s.Patch", d->name);
    json_object_set_new(schemas, name, openapi_patch(d));
    snprintf(name, sizeof name, "%s.Filter", d->name);
    json_object_set_new(schemas, name, openapi_filter(d, name));
}
