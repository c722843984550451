//! A file on a branch of its own in a Git repository: a commit for each change, pushed only where the branch is as it was
//! read. No pipeline must push to the branch that the spec is on.

use super::STATE_FILE;
use super::place::Mark;
use schema::spec::GitState;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// How long one call of git may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How much of what it says is told.
const SAID: usize = 400;
/// Which remote is meant where the node names none.
const REMOTE: &str = "origin";

/// A branch.
pub struct Branch {
    folder: PathBuf,
    remote: String,
    branch: String,
    /// What was fetched last is good enough.
    fetched: bool,
}

impl Branch {
    /// The node's, in the repository around a folder.
    pub fn new(folder: &Path, spec: &GitState) -> Branch {
        let remote = spec.remote.clone().unwrap_or_else(|| REMOTE.to_owned());
        Branch { folder: folder.to_path_buf(), remote, branch: spec.branch.clone(), fetched: false }
    }

    /// `branch waybill-state of origin`
    pub fn name(&self) -> String {
        format!("branch {} of {}", self.branch, self.remote)
    }

    fn reference(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }

    /// Runs git; what it printed, or its code and complaint.
    async fn git(&self, arguments: &[&str], input: Option<&str>) -> Result<Vec<u8>, (Option<i32>, String)> {
        let failed = |why: String| (None, why);
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.folder).args(arguments).kill_on_drop(true);
        // A pipeline may have told git nothing of who it is, and nobody is there to be asked for a password.
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "waybill").env(format!("GIT_{role}_EMAIL"), "waybill@localhost");
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(format!("git does not run: {error}")))?;
        let stdin = child.stdin.take();
        let run = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                stdin.write_all(input.as_bytes()).await?;
            }
            child.wait_with_output().await
        };
        let output = match timeout(PATIENCE, run).await {
            Ok(output) => output.map_err(|error| failed(error.to_string()))?,
            Err(_) => return Err(failed(format!("git takes longer than {} s", PATIENCE.as_secs()))),
        };
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.get(..said.floor_char_boundary(SAID)).unwrap_or_default().trim();
        Err((output.status.code(), format!("git {}: {said}", arguments.first().unwrap_or(&""))))
    }

    async fn ask(&self, arguments: &[&str], input: Option<&str>) -> Result<String, String> {
        let said = self.git(arguments, input).await.map_err(|(_, why)| why)?;
        Ok(String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// The same, without asking the remote: as it was fetched last.
    #[must_use]
    pub fn fetched(self) -> Branch {
        Branch { fetched: true, ..self }
    }

    /// The commit that the branch is at, at the remote.
    async fn tip(&self) -> Result<Option<String>, String> {
        if self.fetched {
            let reference = format!("refs/remotes/{}/{}", self.remote, self.branch);
            // A folder that is no clone has heard of no rollover.
            let found = self.ask(&["for-each-ref", "--format=%(objectname)", "--count=1", &reference], None).await;
            return Ok(found.ok().filter(|found| !found.is_empty()));
        }
        let reference = self.reference();
        let words = ["ls-remote", "--exit-code", "--end-of-options", &self.remote, &reference];
        match self.git(&words, None).await {
            // Without such a branch.
            Err((Some(2), _)) => Ok(None),
            Err((_, why)) => Err(why),
            Ok(line) => {
                let line = String::from_utf8_lossy(&line).into_owned();
                let id = line.split_whitespace().next().unwrap_or_default().to_owned();
                match id.len() >= 40 && id.chars().all(|c| c.is_ascii_hexdigit()) {
                    true => Ok(Some(id)),
                    false => Err("git ls-remote names no commit".into()),
                }
            }
        }
    }

    /// What is there, and the commit.
    pub(super) async fn read(&self) -> Result<Option<(Vec<u8>, Mark)>, String> {
        let Some(tip) = self.tip().await? else { return Ok(None) };
        if !self.fetched {
            let words = ["fetch", "--quiet", "--no-tags", "--end-of-options", &self.remote, &self.reference()];
            self.ask(&words, None).await?;
        }
        let text = self.git(&["cat-file", "blob", &format!("{tip}:{STATE_FILE}")], None).await;
        let text = text.map_err(|(_, why)| why)?;
        Ok(Some((text, Some(tip))))
    }

    /// Writes where the branch is as it was read; `None` where it is not.
    pub(super) async fn write(&self, text: &str, mark: Option<&str>, serial: u64) -> Result<Option<Mark>, String> {
        let blob = self.ask(&["hash-object", "-w", "--stdin"], Some(text)).await?;
        let tree = self.ask(&["mktree"], Some(&format!("100644 blob {blob}\t{STATE_FILE}\n"))).await?;
        let message = format!("State {serial}");
        let mut words = vec!["commit-tree", &tree, "-m", &message];
        words.extend(mark.iter().flat_map(|mark| ["-p", mark]));
        let commit = self.ask(&words, None).await?;
        let reference = self.reference();
        let lease = format!("--force-with-lease={reference}:{}", mark.unwrap_or_default());
        let to = format!("{commit}:{reference}");
        match self.git(&["push", "--quiet", &lease, "--end-of-options", &self.remote, &to], None).await {
            Ok(_) => Ok(Some(Some(commit))),
            Err((_, why)) => match self.tip().await? {
                // The push went through, and its answer was lost.
                Some(tip) if tip == commit => Ok(Some(Some(commit))),
                tip if tip.as_deref() != mark => Ok(None),
                _ => Err(why),
            },
        }
    }
}
