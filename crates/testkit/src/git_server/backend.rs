//! `git http-backend` as a CGI program (RFC 3875).

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::{GitRequest, text};
use crate::process::{die_with_parent, hermetic_command};

/// Bytes read from the program at a time.
const CHUNK: usize = 64 << 10;

/// Runs the program for one request. `limit`: the body breaks off after so many bytes.
pub(super) async fn run(
    root: &Path,
    log: &Path,
    request: &GitRequest,
    headers: &HeaderMap,
    body: Bytes,
    limit: usize,
) -> Result<Response<Body>> {
    let log = OpenOptions::new().create(true).append(true).open(log).context("cannot open the log")?;
    let mut command = hermetic_command("git", root);
    command
        .arg("http-backend")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", &request.path)
        .env("QUERY_STRING", &request.query)
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("REMOTE_ADDR", "127.0.0.1")
        // Every request that comes so far is authorised; with a user the program allows pushes.
        .env("REMOTE_USER", super::USERNAME)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log);
    for (variable, header) in [("CONTENT_TYPE", "content-type"), ("HTTP_CONTENT_ENCODING", "content-encoding")] {
        if let Some(value) = text(headers, header) {
            command.env(variable, value);
        }
    }
    if let Some(protocol) = &request.protocol {
        command.env("GIT_PROTOCOL", protocol);
    }
    // This thread lives as long as the server.
    die_with_parent(&mut command);
    let mut child = Command::from(command).kill_on_drop(true).spawn().context("cannot start git http-backend")?;
    let mut stdin = child.stdin.take().context("a piped child has a standard input")?;
    let stdout = child.stdout.take().context("a piped child has a standard output")?;
    tokio::spawn(async move {
        // The program may refuse without reading everything; its answer tells why.
        let _refused = stdin.write_all(&body).await;
    });
    respond(child, BufReader::with_capacity(CHUNK, stdout), limit).await
}

async fn respond(child: Child, mut output: BufReader<ChildStdout>, limit: usize) -> Result<Response<Body>> {
    let mut response = Response::new(Body::empty());
    loop {
        let mut line = String::new();
        output.read_line(&mut line).await.context("cannot read from git http-backend")?;
        if line.is_empty() {
            bail!("git http-backend ended within its headers");
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line}"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            *response.status_mut() = StatusCode::from_bytes(code.as_bytes()).context("not a status")?;
        } else {
            let name = HeaderName::from_bytes(name.as_bytes()).context("not a header name")?;
            response.headers_mut().append(name, HeaderValue::from_str(value).context("not a header value")?);
        }
    }
    *response.body_mut() = Body::from_stream(futures::stream::try_unfold(
        (child, output, limit),
        async |(mut child, mut output, left)| {
            if left == 0 {
                return Err(std::io::Error::other("the answer is cut here"));
            }
            let mut chunk = vec![0; CHUNK.min(left)];
            let read = output.read(&mut chunk).await?;
            if read == 0 {
                child.wait().await?;
                return Ok(None);
            }
            chunk.truncate(read);
            Ok(Some((Bytes::from(chunk), (child, output, left - read))))
        },
    ));
    Ok(response)
}
