// Passkeys need a script; without one the password and the code stay. It sends nothing itself: it fills in the form.
"use strict";
(() => {
  const form = document.getElementById("passkey");
  const without = document.getElementById("passkey-without");
  const wrong = document.getElementById("passkey-wrong");
  if (!form || !window.PublicKeyCredential || !navigator.credentials) return;
  form.hidden = false;
  if (without) without.hidden = true;

  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const named = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

  async function asked() {
    const options = JSON.parse(form.dataset.options);
    options.challenge = bytes(options.challenge);
    if (form.dataset.act === "make") {
      options.user.id = bytes(options.user.id);
      options.excludeCredentials = named(options.excludeCredentials);
      return navigator.credentials.create({ publicKey: options });
    }
    options.allowCredentials = named(options.allowCredentials);
    return navigator.credentials.get({ publicKey: options });
  }

  function told(credential) {
    const answer = credential.response;
    const response = { clientDataJSON: text(answer.clientDataJSON) };
    for (const part of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (answer[part]) response[part] = text(answer[part]);
    }
    if (answer.getTransports) response.transports = answer.getTransports();
    return JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response });
  }

  form.addEventListener("submit", async (event) => {
    if (form.elements.credential.value) return;
    event.preventDefault();
    wrong.hidden = true;
    try {
      form.elements.credential.value = told(await asked());
      form.requestSubmit();
    } catch {
      wrong.hidden = false;
      wrong.focus();
    }
  });
})();
