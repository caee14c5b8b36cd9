// Starts Swagger UI on the document that this very listener serves. A file of its own: the page's policy forbids inline
// scripts.
window.addEventListener("load", function () {
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    layout: "BaseLayout",
    presets: [SwaggerUIBundle.presets.apis],
    deepLinking: true,
    displayRequestDuration: true,
    filter: true,
    persistAuthorization: true,
    showCommonExtensions: true,
    showExtensions: true,
    tryItOutEnabled: true,
    validatorUrl: null,
  });
});
