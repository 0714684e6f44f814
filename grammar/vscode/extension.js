// Starts `ftp lsp` for `.ftp` files, and shows the pages its diagnostics link to.

const { commands, window, workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function start() {
  const server = { command: workspace.getConfiguration("ftp").get("path"), args: ["lsp"] };
  const schemes = ["file", "untitled"];
  client = new LanguageClient("ftp", "ftp", server, {
    documentSelector: schemes.map((scheme) => ({ language: "ftp", scheme })),
  });
  // The codes of diagnostics may link to `ftp-explain:CODE`.
  client.registerFeature({
    fillClientCapabilities: (capabilities) => {
      capabilities.experimental = { ...capabilities.experimental, ftpExplain: true };
    },
    initialize: () => {},
    getState: () => ({ kind: "static" }),
    clear: () => {},
  });
  try {
    await client.start();
  } catch (error) {
    window.showErrorMessage(`ftp: ${server.command} can't be started (${error}). Set ftp.path to the ftp program.`);
  }
}

async function stop() {
  const last = client;
  client = undefined;
  if (last?.needsStop()) await last.stop();
}

async function activate(context) {
  context.subscriptions.push(
    workspace.registerTextDocumentContentProvider("ftp-explain", {
      provideTextDocumentContent: (uri) => client?.sendRequest("ftp/explain", { code: uri.path }),
    }),
    commands.registerCommand("ftp.restart", async () => {
      await stop();
      await start();
    }),
  );
  await start();
}

module.exports = { activate, deactivate: stop };
