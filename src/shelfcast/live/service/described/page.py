"""The API's page at /docs: Swagger UI out of a package, so that nothing is loaded from elsewhere."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

ASSETS = "/docs/assets"
PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>shelfcast: calls of the service</title>
<link rel="stylesheet" href="{ASSETS}/swagger-ui.css">
<link rel="icon" href="{ASSETS}/favicon-32x32.png">
</head>
<body>
<div id="calls"><p>The calls are read from <a href="/openapi.json">/openapi.json</a>. This needs JavaScript.</p></div>
<script src="{ASSETS}/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# This Swagger UI reads OpenAPI up to 3.0. The document is 3.1, of which the page needs one part that 3.0 lacks: examples
# in a parameter's schema, with which fields are filled.
START = """const calls = (spec) => Object.values(spec.paths).flatMap(Object.values);
const filled = (spec) => {
  for (const call of calls(spec)) {
    for (const field of call.parameters ?? []) {
      if (field.schema?.examples) field.example = field.schema.examples[0];
    }
  }
  return spec;
};
fetch("/openapi.json")
  .then((answer) => answer.json())
  .then(filled)
  .then((spec) => SwaggerUIBundle({
    spec: {...spec, openapi: "3.0.3"},
    dom_id: "#calls",
    presets: [SwaggerUIBundle.presets.apis],
    defaultModelsExpandDepth: -1,
    tryItOutEnabled: true,
    validatorUrl: null,
  }));
"""
OWN_ALONE = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


def install(app: FastAPI) -> None:
    """Add the page; what it loads comes from this service, which a policy for the browser holds it to."""

    @app.get("/docs", include_in_schema=False)
    def page() -> Response:
        return HTMLResponse(PAGE, headers={"Content-Security-Policy": OWN_ALONE})

    @app.get("/docs/start.js", include_in_schema=False)
    def start() -> Response:
        return Response(START, media_type="text/javascript")

    app.mount(ASSETS, StaticFiles(directory=swagger_ui_path))
