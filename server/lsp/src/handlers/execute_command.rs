//! `workspace/executeCommand`: what lenses and code actions do.

use serde_json::Value;
use tower_lsp::jsonrpc::{Error, Result};
use tower_lsp::lsp_types::{ExecuteCommandParams, MessageType};

use super::run::request;
use crate::protocol::{LensArguments, RunResult, ServerCommand};
use crate::runs::{Choice, TargetKey};
use crate::server::Server;

/// Runs, stops, or shows a log. A refusal is also a message, but to clients that show runs: many others only log errors.
pub(crate) async fn execute_command(server: &Server, params: ExecuteCommandParams) -> Result<Option<Value>> {
    let done = carry_out(server, params).await;
    if let Err(refused) = &done
        && !server.capabilities().run_events
    {
        let (client, sentence) = (server.client.clone(), refused.message.clone());
        tokio::spawn(async move { client.show_message(MessageType::ERROR, sentence).await });
    }
    done
}

async fn carry_out(server: &Server, params: ExecuteCommandParams) -> Result<Option<Value>> {
    let command = ServerCommand::parse(&params.command, params.arguments).map_err(Error::invalid_params)?;
    match command {
        ServerCommand::Run(target) => {
            let choice = Choice::one(target.name, target.index);
            start(server, request(server, target.uri, &choice).await?)
        }
        ServerCommand::RunAll(document) => start(server, request(server, document.uri, &Choice::All).await?),
        ServerCommand::Stop(target) => {
            let key = key(server, &target).await;
            server.runs.cancel_target(&target.uri, &key);
            Ok(None)
        }
        ServerCommand::Log(target) => {
            let key = key(server, &target).await;
            server.runs.open_log(&target.uri, &key).map_err(|refusal| super::refused(&refusal))?;
            Ok(None)
        }
    }
}

/// Starts, or asks first, where the client has no trust of its own.
fn start(server: &Server, request: crate::runs::Request) -> Result<Option<Value>> {
    let run_id = server.runs.start_or_ask(request).map_err(|refusal| super::refused(&refusal))?;
    Ok(run_id.and_then(|run_id| serde_json::to_value(RunResult { run_id }).ok()))
}

/// The target that a lens means: among those of its name, the one at its place.
async fn key(server: &Server, target: &LensArguments) -> TargetKey {
    let document = server.document(&target.uri).await;
    let targets = document.map(|document| document.analysis.targets()).unwrap_or_default();
    let keys = TargetKey::all(targets.iter().map(|known| known.name.as_str()));
    let at_place = keys.into_iter().nth(target.index).filter(|key| key.name == target.name);
    at_place.unwrap_or_else(|| TargetKey::first(&target.name))
}
