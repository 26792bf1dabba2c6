"""The part of JSON Schema that the BIfTI schema uses, to judge files by the text of others."""

import re

TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int}


def violations(value, schema, root, where="$"):
    """Return where and how a value breaks a schema."""
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return violations(value, {k: v for k, v in schema.items() if k != "$ref"} | target, root, where)
    found = []
    if "type" in schema and (not isinstance(value, TYPES[schema["type"]]) or isinstance(value, bool)):
        return [f"{where}: no {schema['type']}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: not the constant")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{where}: {value!r} does not match")
    if "minimum" in schema and value < schema["minimum"]:
        found.append(f"{where}: below minimum")
    if "oneOf" in schema:
        fits = sum(not violations(value, s, root, where) for s in schema["oneOf"])
        found += [] if fits == 1 else [f"{where}: fits {fits} of oneOf"]
    if isinstance(value, dict):
        found += [f"{where}.{k} is missing" for k in schema.get("required", ()) if k not in value]
        found += [f"{where} is too small"] if len(value) < schema.get("minProperties", 0) else []
        known = schema.get("properties", {})
        for key, entry in value.items():
            rule = known.get(key, schema.get("additionalProperties", True))
            if rule is False:
                found.append(f"{where}.{key} is not allowed")
            elif isinstance(rule, dict):
                found += violations(entry, rule, root, f"{where}.{key}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9):
            found.append(f"{where}: {len(value)} items")
        for k, entry in enumerate(value):
            found += violations(entry, schema.get("items", {}), root, f"{where}[{k}]")
    return found
