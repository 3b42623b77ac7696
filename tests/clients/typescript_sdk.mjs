// The official TypeScript SDK against every provider; see test_typescript_sdk.py.

import Anthropic from '@anthropic-ai/sdk';
import { betaTool } from '@anthropic-ai/sdk/helpers/beta/json-schema';

import { abortOnArrival, report, task } from './checks.mjs';

const client = new Anthropic({ baseURL: task.url, authToken: task.key, apiKey: null, maxRetries: 0 });
const said = (text) => [{ role: 'user', content: text }];
const picture = {
  type: 'image',
  source: { type: 'base64', media_type: 'image/png', data: task.picture },
};

function weather() {
  const asked = [];
  const tool = betaTool({
    name: 'get_weather',
    description: 'The weather of a city.',
    inputSchema: {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
    },
    run: (input) => {
      asked.push(input);
      return `fine, ${asked.length}`;
    },
  });
  return { asked, tool };
}

const brief = (message) => ({
  types: message.content.map((block) => block.type),
  text: message.content.findLast((block) => block.type === 'text')?.text,
  stop: message.stop_reason,
  usage: message.usage,
});

async function failure(ask) {
  try {
    await ask();
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, type: error.type, id: error.requestID };
  }
  return { kind: null };
}

async function aborted(stream, signal) {
  let pieces = 0;
  try {
    for await (const event of stream) {
      pieces += event.type === 'content_block_delta';
      if (pieces === 2) signal.abort();
    }
  } catch (error) {
    return { pieces, kind: error.constructor.name };
  }
  return { pieces, kind: null };
}

await report({
  text: async (model) => brief(await client.messages.create({ model, max_tokens: 200, messages: said('Hello') })),

  stream: async (model) => {
    const stream = client.messages.stream({ model, max_tokens: 200, messages: said('Hello') });
    const kinds = [];
    let last;
    stream.on('streamEvent', (event) => {
      kinds.push(event.type);
      if (event.type === 'message_delta') last = event.usage;
    });
    return { ...brief(await stream.finalMessage()), kinds, last };
  },

  tools: async (model) => {
    const { asked, tool } = weather();
    const final = await client.beta.messages.toolRunner({
      model, max_tokens: 2000, messages: said('Call get_weather for Oslo.'), tools: [tool],
    });
    return { ...brief(final), asked };
  },

  tools_streamed: async (model) => {
    const { asked, tool } = weather();
    const runner = client.beta.messages.toolRunner({
      model, max_tokens: 2000, messages: said('Stream: call get_weather for Oslo.'), tools: [tool], stream: true,
    });
    const turns = [];
    for await (const stream of runner) turns.push(brief(await stream.finalMessage()));
    return { ...turns.at(-1), asked, turns };
  },

  thinking: async (model) => {
    const given = { model, max_tokens: 4000, thinking: { type: 'enabled', budget_tokens: 2048 } };
    const messages = said('Hello');
    const first = await client.messages.stream({ ...given, messages }).finalMessage();
    messages.push({ role: 'assistant', content: first.content }, ...said('And now?'));
    const second = await client.messages.create({ ...given, messages });
    return { ...brief(first), second: brief(second) };
  },

  thinking_tools: async (model) => {
    const { asked, tool } = weather();
    const final = await client.beta.messages.toolRunner({
      model, max_tokens: 4000, thinking: { type: 'enabled', budget_tokens: 2048 },
      messages: said('Think, then call get_weather for Oslo.'), tools: [tool], stream: true,
    });
    return { ...brief(final), asked };
  },

  images: async (model) => {
    const messages = said([picture, { type: 'text', text: 'What is this?' }]);
    return brief(await client.messages.create({ model, max_tokens: 200, messages }));
  },

  count: async (model) => client.messages.countTokens({ model, messages: said('Hello') }),

  errors: async (model) => {
    const found = {};
    for (const status of [400, 404, 413, 429, 500, 529]) {
      for (const stream of [false, true]) {
        const ask = { model: `${model};status=${status}`, max_tokens: 9, messages: said('Hello'), stream };
        found[`${status}${stream ? ' stream' : ''}`] = await failure(() => client.messages.create(ask));
      }
    }
    return found;
  },

  error_in_stream: async (model) =>
    failure(() =>
      client.messages
        .stream({ model: `${model};error_at=3`, max_tokens: 200, messages: said('Hello') })
        .finalMessage(),
    ),

  wrong_key: async (model) => {
    const stranger = new Anthropic({ baseURL: task.url, apiKey: 'sk-wrong', authToken: null });
    const began = performance.now();
    const found = await failure(() =>
      stranger.messages.create({ model, max_tokens: 9, messages: said('Hello') }),
    );
    return { ...found, seconds: (performance.now() - began) / 1000 };
  },

  abort: async (model) => {
    const ask = { model: `${model};tps=40;tokens=4000`, max_tokens: 4000, messages: said('Hello') };
    const stream = await client.messages.create({ ...ask, stream: true });
    return aborted(stream, stream.controller);
  },

  abort_json: async (model) => {
    const control = new AbortController();
    const ask = { model: `${model};ttft=20`, max_tokens: 200, messages: said('Hello') };
    const [found] = await Promise.all([
      failure(() => client.messages.create(ask, { signal: control.signal })),
      abortOnArrival(ask.model, control),
    ]);
    return found;
  },
});
