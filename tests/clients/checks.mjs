// What the scripts of this folder share: the task from stdin, the checks of all providers at
// once, and the results on stdout. A check that fails is reported, and fails in pytest.

export const task = JSON.parse(await readAll(process.stdin));

async function readAll(stream) {
  let text = '';
  for await (const piece of stream) text += piece;
  return text;
}

/** Runs each of `checks` with each provider's model, and writes what they gave. */
export async function report(checks) {
  const results = {};
  const attempt = async (provider, name) => {
    try {
      results[provider][name] = await checks[name](task.models[provider], provider);
    } catch (error) {
      results[provider][name] = { failed: `${error?.name}: ${error?.message}`, stack: error?.stack };
    }
  };
  const all = Object.keys(task.models).flatMap((provider) => {
    results[provider] = {};
    return Object.keys(checks).map((name) => attempt(provider, name));
  });
  await Promise.all(all);
  process.stdout.write(JSON.stringify(results));
}

/** Aborts `control` as soon as the provider has got the request for `model`. */
export async function abortOnArrival(model, control) {
  const name = encodeURIComponent(model.slice(model.indexOf('/') + 1));
  for (let entries = []; entries.length === 0; ) {
    await new Promise((wake) => setTimeout(wake, 50));
    const answer = await fetch(`${task.simulator}/_sim/journal?after=0&model=${name}`);
    ({ entries } = await answer.json());
  }
  control.abort();
}
