//! Requests to the feature that answers them.

use std::collections::HashMap;

use lsp_server::{ErrorCode, Request, Response};
use lsp_types::request::{
    CodeActionRequest, Completion, DocumentHighlightRequest, DocumentSymbolRequest, Formatting, GotoDefinition,
    HoverRequest, InlayHintRequest, PrepareRenameRequest, References, Rename, Request as Kind,
};
use lsp_types::{TextDocumentPositionParams, Uri};

use super::document::Document;
use super::setup::Client;
use super::{actions, completion, edits, hints, hover, navigation, rename};
use crate::lang::explain;

/// Why a request is not answered, for the person who made it.
pub(super) struct Refusal(pub String);

/// `ftp/explain`: the page of a code as Markdown, for a client that links to it.
enum Explain {}

impl Kind for Explain {
    type Params = ExplainParams;
    type Result = Option<String>;
    const METHOD: &'static str = "ftp/explain";
}

#[derive(serde::Deserialize, serde::Serialize)]
struct ExplainParams {
    code: String,
}

type Documents = HashMap<String, Document>;

pub(super) fn answer(documents: &Documents, client: Client, request: Request) -> Response {
    let find = |uri: &Uri| documents.get(uri.as_str());
    let place = |params: &TextDocumentPositionParams| {
        let document = find(&params.text_document.uri)?;
        Some((document, document.offset(params.position)))
    };
    match request.method.as_str() {
        HoverRequest::METHOD => reply::<HoverRequest>(request, |params| {
            let place = place(&params.text_document_position_params);
            Ok(place.and_then(|(document, offset)| hover::hover(document, offset)))
        }),
        Completion::METHOD => reply::<Completion>(request, |params| {
            let place = place(&params.text_document_position);
            Ok(place.map(|(document, offset)| completion::complete(document, offset, client).into()))
        }),
        GotoDefinition::METHOD => reply::<GotoDefinition>(request, |params| {
            let place = place(&params.text_document_position_params);
            Ok(place.and_then(|(document, offset)| navigation::definition(document, offset)))
        }),
        References::METHOD => reply::<References>(request, |params| {
            let declared = params.context.include_declaration;
            let place = place(&params.text_document_position);
            Ok(place.map(|(document, offset)| navigation::references(documents, document, offset, declared)))
        }),
        DocumentHighlightRequest::METHOD => reply::<DocumentHighlightRequest>(request, |params| {
            let place = place(&params.text_document_position_params);
            Ok(place.map(|(document, offset)| navigation::highlights(document, offset)))
        }),
        DocumentSymbolRequest::METHOD => reply::<DocumentSymbolRequest>(request, |params| {
            Ok(find(&params.text_document.uri).map(|document| navigation::symbols(document).into()))
        }),
        PrepareRenameRequest::METHOD => reply::<PrepareRenameRequest>(request, |params| {
            place(&params).map_or(Ok(None), |(document, offset)| rename::prepare(document, offset).map(Some))
        }),
        Rename::METHOD => reply::<Rename>(request, |params| {
            let place = place(&params.text_document_position);
            place.map_or(Ok(None), |(document, at)| rename::rename(documents, document, at, &params.new_name).map(Some))
        }),
        Formatting::METHOD => {
            reply::<Formatting>(request, |params| Ok(find(&params.text_document.uri).and_then(edits::format)))
        }
        CodeActionRequest::METHOD => reply::<CodeActionRequest>(request, |params| {
            Ok(find(&params.text_document.uri).map(|document| actions::actions(document, &params, client)))
        }),
        InlayHintRequest::METHOD => reply::<InlayHintRequest>(request, |params| {
            Ok(find(&params.text_document.uri).map(|document| hints::hints(document, params.range)))
        }),
        Explain::METHOD => {
            reply::<Explain>(request, |params| Ok(explain::find(&params.code).first().map(|page| hover::page(page))))
        }
        other => {
            let message = format!("this server does not answer {other}");
            Response::new_err(request.id, ErrorCode::MethodNotFound as i32, message)
        }
    }
}

fn reply<K: Kind>(request: Request, answer: impl FnOnce(K::Params) -> Result<K::Result, Refusal>) -> Response {
    match serde_json::from_value(request.params) {
        Ok(params) => match answer(params) {
            Ok(result) => Response::new_ok(request.id, result),
            Err(Refusal(message)) => Response::new_err(request.id, ErrorCode::RequestFailed as i32, message),
        },
        Err(error) => Response::new_err(request.id, ErrorCode::InvalidParams as i32, error.to_string()),
    }
}
