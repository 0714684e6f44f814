//! What client and server tell each other at the beginning.

use lsp_types::{
    CodeActionKind, CodeActionOptions, CompletionOptions, DidChangeWatchedFilesRegistrationOptions, FileSystemWatcher,
    GlobPattern, HoverProviderCapability, InitializeParams, OneOf, Registration, RegistrationParams, RenameOptions,
    SaveOptions, ServerCapabilities, TextDocumentSyncCapability, TextDocumentSyncKind, TextDocumentSyncOptions,
};

use super::position::Encoding;

/// What the client understands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub encoding: Encoding,
    /// Completions with places to fill in.
    pub snippets: bool,
    /// Links to the pages of codes, `ftp-explain:CODE`; ours does (`experimental.ftpExplain`).
    pub explain: bool,
    /// Tells of changed files when asked to.
    pub watches: bool,
    /// Knows the related places of a diagnostic.
    pub related: bool,
    /// Asks for hints again when told to.
    pub refreshes: bool,
}

impl Client {
    pub fn new(params: &InitializeParams) -> Self {
        let capabilities = &params.capabilities;
        let general = capabilities.general.as_ref();
        let text = capabilities.text_document.as_ref();
        let item = text.and_then(|text| text.completion.as_ref()?.completion_item.as_ref());
        let watched = capabilities.workspace.as_ref().and_then(|all| all.did_change_watched_files.as_ref());
        let hints = capabilities.workspace.as_ref().and_then(|all| all.inlay_hint.as_ref()?.refresh_support);
        let experimental = capabilities.experimental.as_ref().and_then(|all| all.get("ftpExplain")?.as_bool());
        let related = text.and_then(|text| text.publish_diagnostics.as_ref()?.related_information);
        Self {
            encoding: Encoding::negotiate(general.and_then(|general| general.position_encodings.as_deref())),
            snippets: item.and_then(|item| item.snippet_support).unwrap_or(false),
            explain: experimental.unwrap_or(false),
            watches: watched.and_then(|watched| watched.dynamic_registration).unwrap_or(false),
            related: related.unwrap_or(false),
            refreshes: hints.unwrap_or(false),
        }
    }
}

pub(super) fn capabilities(encoding: Encoding) -> ServerCapabilities {
    let sync = TextDocumentSyncOptions {
        open_close: Some(true),
        change: Some(TextDocumentSyncKind::INCREMENTAL),
        save: Some(SaveOptions { include_text: Some(false) }.into()),
        ..TextDocumentSyncOptions::default()
    };
    let actions = CodeActionOptions {
        code_action_kinds: Some(vec![CodeActionKind::QUICKFIX, CodeActionKind::SOURCE_FIX_ALL]),
        ..CodeActionOptions::default()
    };
    let completion = CompletionOptions {
        trigger_characters: Some([" ", "(", ",", ".", ">", "="].map(str::to_owned).to_vec()),
        ..CompletionOptions::default()
    };
    ServerCapabilities {
        position_encoding: Some(encoding.kind()),
        text_document_sync: Some(TextDocumentSyncCapability::Options(sync)),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        completion_provider: Some(completion),
        definition_provider: Some(OneOf::Left(true)),
        references_provider: Some(OneOf::Left(true)),
        document_highlight_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        code_action_provider: Some(actions.into()),
        document_formatting_provider: Some(OneOf::Left(true)),
        inlay_hint_provider: Some(OneOf::Left(true)),
        rename_provider: Some(OneOf::Right(RenameOptions {
            prepare_provider: Some(true),
            work_done_progress_options: Default::default(),
        })),
        ..ServerCapabilities::default()
    }
}

/// Asks to be told when files change; which of them matter is known to `facts`.
pub(super) fn watch_files() -> RegistrationParams {
    let watchers = vec![FileSystemWatcher { glob_pattern: GlobPattern::String("**/*".into()), kind: None }];
    let options = serde_json::to_value(DidChangeWatchedFilesRegistrationOptions { watchers }).ok();
    let registration = Registration {
        id: "files".into(),
        method: "workspace/didChangeWatchedFiles".into(),
        register_options: options,
    };
    RegistrationParams { registrations: vec![registration] }
}
