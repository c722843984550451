//! `waybill lsp`: the language server, on stdin and stdout (Language Server Protocol 3.17).
//!
//! - [`text`] – offsets and an editor's positions;
//! - [`cursor`] – what a word of a file is: which node's name, argument or property, also where the text is broken;
//! - [`names`] – which words define a name and which refer to it, for definition, references and rename;
//! - [`workspace`] – the open files, the spec that each belongs to, and what compiling it last gave;
//! - [`answers`] – completion, hover and the rest, from a workspace.
//!
//! A spec is compiled on a thread of its own after each change, the newest text only, so that answers never wait for
//! it. What an editor shows in the end is what `waybill check` tells; until then, what is wrong with the changed file by
//! itself, and what was known of it before.

mod answers;
mod cursor;
mod names;
mod text;
mod workspace;

use crossbeam_channel::select;
use lsp_server::{Connection, ErrorCode, Message, Notification, Request, Response};
use lsp_types::notification::Notification as _;
use lsp_types::request::Request as _;
use lsp_types::{
    CodeActionKind, CodeActionOptions, CodeActionProviderCapability, CompletionOptions, HoverProviderCapability,
    InitializeParams, OneOf, PositionEncodingKind, RenameOptions, SaveOptions, ServerCapabilities, ServerInfo,
    TextDocumentSyncCapability, TextDocumentSyncKind, TextDocumentSyncOptions, TextDocumentSyncSaveOptions,
    WorkDoneProgressOptions, notification, request,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use std::io;
use text::Encoding;
use workspace::Workspace;

/// Serves until the editor says `exit`, or goes. `now` reads the clock, for the dates of certificates.
///
/// # Errors
/// Where the editor breaks the protocol, or a thread cannot be started.
pub fn serve(now: fn() -> i64) -> io::Result<()> {
    let (connection, threads) = Connection::stdio();
    converse(&connection, now)?;
    drop(connection);
    threads.join()
}

fn converse(connection: &Connection, now: fn() -> i64) -> io::Result<()> {
    let (id, asked) = connection.initialize_start().map_err(io::Error::other)?;
    let asked: InitializeParams = serde_json::from_value(asked)?;
    let offered = asked.capabilities.general.and_then(|general| general.position_encodings).unwrap_or_default();
    let encoding = if offered.contains(&PositionEncodingKind::UTF8) { Encoding::Utf8 } else { Encoding::Utf16 };
    let server = ServerInfo { name: "waybill".into(), version: Some(env!("CARGO_PKG_VERSION").into()) };
    let answer = json!({ "capabilities": capabilities(encoding), "serverInfo": server });
    connection.initialize_finish(id, answer).map_err(io::Error::other)?;
    let (workspace, done) = Workspace::start(encoding, now)?;
    let mut server = Server { connection, workspace };
    loop {
        select! {
            recv(connection.receiver) -> message => match message {
                Ok(Message::Request(request)) => {
                    if connection.handle_shutdown(&request).map_err(io::Error::other)? {
                        return Ok(());
                    }
                    server.request(request)?;
                }
                Ok(Message::Notification(notification)) => server.notification(notification)?,
                Ok(Message::Response(_)) => {}
                // The editor is gone.
                Err(_) => return Ok(()),
            },
            recv(done) -> compiled => match compiled {
                Ok(compiled) => {
                    for published in server.workspace.take(compiled) {
                        server.notify::<notification::PublishDiagnostics>(&published)?;
                    }
                }
                Err(_) => return Err(io::Error::other("the compiling thread ended")),
            },
        }
    }
}

fn capabilities(encoding: Encoding) -> ServerCapabilities {
    let sync = TextDocumentSyncOptions {
        open_close: Some(true),
        change: Some(TextDocumentSyncKind::INCREMENTAL),
        save: Some(TextDocumentSyncSaveOptions::SaveOptions(SaveOptions { include_text: Some(false) })),
        ..TextDocumentSyncOptions::default()
    };
    let triggers = [" ", "\"", "=", "{", "("].map(str::to_owned).to_vec();
    ServerCapabilities {
        position_encoding: Some(match encoding {
            Encoding::Utf8 => PositionEncodingKind::UTF8,
            Encoding::Utf16 => PositionEncodingKind::UTF16,
        }),
        text_document_sync: Some(TextDocumentSyncCapability::Options(sync)),
        completion_provider: Some(CompletionOptions { trigger_characters: Some(triggers), ..Default::default() }),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        definition_provider: Some(OneOf::Left(true)),
        references_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        document_formatting_provider: Some(OneOf::Left(true)),
        rename_provider: Some(OneOf::Right(RenameOptions {
            prepare_provider: Some(true),
            work_done_progress_options: WorkDoneProgressOptions::default(),
        })),
        code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
            code_action_kinds: Some(vec![CodeActionKind::QUICKFIX]),
            ..CodeActionOptions::default()
        })),
        ..ServerCapabilities::default()
    }
}

struct Server<'a> {
    connection: &'a Connection,
    workspace: Workspace,
}

impl Server<'_> {
    fn send(&self, message: impl Into<Message>) -> io::Result<()> {
        self.connection.sender.send(message.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn notify<N: notification::Notification>(&self, params: &N::Params) -> io::Result<()> {
        let params = serde_json::to_value(params)?;
        self.send(Notification { method: N::METHOD.to_owned(), params })
    }

    fn request(&mut self, request: Request) -> io::Result<()> {
        let at = &self.workspace;
        let answer = match request.method.as_str() {
            request::Completion::METHOD => answered(&request, |asked| answers::completion(at, &asked)),
            request::HoverRequest::METHOD => answered(&request, |asked| answers::hover(at, &asked)),
            request::GotoDefinition::METHOD => answered(&request, |asked| answers::definition(at, &asked)),
            request::References::METHOD => answered(&request, |asked| answers::references(at, &asked)),
            request::PrepareRenameRequest::METHOD => answered(&request, |asked| answers::prepare_rename(at, &asked)),
            request::Rename::METHOD => match read(&request).map(|asked| answers::rename(at, &asked)) {
                Ok(Ok(edit)) => written(edit),
                Ok(Err(says)) => Err((ErrorCode::RequestFailed, says)),
                Err(wrong) => Err(wrong),
            },
            request::DocumentSymbolRequest::METHOD => answered(&request, |asked| answers::symbols(at, &asked)),
            request::Formatting::METHOD => answered(&request, |asked| answers::formatting(at, &asked)),
            request::CodeActionRequest::METHOD => answered(&request, |asked| answers::actions(at, &asked)),
            other => Err((ErrorCode::MethodNotFound, format!("`{other}` is not served"))),
        };
        self.send(match answer {
            Ok(result) => Response::new_ok(request.id, result),
            Err((code, says)) => Response::new_err(request.id, code as i32, says),
        })
    }

    fn notification(&mut self, told: Notification) -> io::Result<()> {
        // What cannot be understood is no reason to leave the editor alone.
        let params = told.params;
        match told.method.as_str() {
            notification::DidOpenTextDocument::METHOD => {
                if let Ok(opened) = serde_json::from_value(params) {
                    self.workspace.opened(opened);
                }
            }
            notification::DidChangeTextDocument::METHOD => {
                if let Ok(changed) = serde_json::from_value(params)
                    && let Some(published) = self.workspace.changed(changed)
                {
                    self.notify::<notification::PublishDiagnostics>(&published)?;
                }
            }
            notification::DidSaveTextDocument::METHOD | notification::DidChangeWatchedFiles::METHOD => {
                self.workspace.saved();
            }
            notification::DidCloseTextDocument::METHOD => {
                if let Ok(closed) = serde_json::from_value(params) {
                    for published in self.workspace.closed(&closed) {
                        self.notify::<notification::PublishDiagnostics>(&published)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

type Answer = Result<Json, (ErrorCode, String)>;

fn read<P: DeserializeOwned>(request: &Request) -> Result<P, (ErrorCode, String)> {
    serde_json::from_value(request.params.clone()).map_err(|wrong| (ErrorCode::InvalidParams, wrong.to_string()))
}

fn written<R: Serialize>(result: R) -> Answer {
    serde_json::to_value(result).map_err(|wrong| (ErrorCode::InternalError, wrong.to_string()))
}

fn answered<P: DeserializeOwned, R: Serialize>(request: &Request, answer: impl FnOnce(P) -> R) -> Answer {
    written(answer(read(request)?))
}
