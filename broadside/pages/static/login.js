// Exchanges a key, or the code behind the # of a link, for a session. The code never reaches the node in an address.
const form = document.getElementById("login");
const problem = document.getElementById("problem");

async function enter(secret) {
  problem.textContent = "";
  try {
    const answer = await fetch("/v1/session", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(secret),
    });
    if (answer.ok) return location.replace(form.dataset.next);
    const { detail, remedy } = await answer.json();
    problem.textContent = `${detail}: ${remedy}`;
  } catch {
    problem.textContent = "The node does not answer. Try again in a moment.";
  }
  form.key.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  enter({ key: form.key.value.trim() });
});

const code = location.hash.slice(1);
if (code) {
  history.replaceState(null, "", location.pathname + location.search);
  enter({ code });
}
