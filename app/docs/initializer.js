// Starts Swagger UI on the document that this very listener serves. A file of its own: the page's policy forbids inline
// scripts.
//
// Keys that are typed in are kept for this tab and its reloads alone. Swagger UI's own way (persistAuthorization) would
// leave them in localStorage, where the next program on http://localhost:8080 finds them.
const KEPT = "authorized";

function keepForTheTab() {
  return {
    statePlugins: {
      auth: {
        wrapActions: {
          persistAuthorizationIfNeeded: (original, system) => () =>
            sessionStorage.setItem(KEPT, JSON.stringify(system.authSelectors.authorized().toJS())),
        },
      },
    },
  };
}

window.addEventListener("load", function () {
  localStorage.removeItem(KEPT); // of an older page
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    layout: "BaseLayout",
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [keepForTheTab],
    deepLinking: true,
    displayRequestDuration: true,
    filter: true,
    showCommonExtensions: true,
    showExtensions: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    onComplete: function () {
      const kept = sessionStorage.getItem(KEPT);
      if (kept) {
        window.ui.authActions.restoreAuthorization({authorized: JSON.parse(kept)});
      }
    },
  });
});
