//! The binary, started in a home of its own, and a vocabulary to talk about what it did.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// After this long a process that should have ended or spoken hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A home directory for one test: configuration, models, connection files and scripts.
pub struct Home(TempDir);

impl Home {
    pub fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and returns its name, which is relative to the directory that commands run in.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        name.to_owned()
    }

    pub fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perilune"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("PERILUNE_") {
                command.env_remove(variable);
            }
        }
        command.env("PERILUNE_HOME", self.path()).env_remove("JPY_PARENT_PID").current_dir(self.path());
        // Where other programs keep models.
        command.env("HF_HOME", self.path().join("huggingface")).env("OLLAMA_MODELS", self.path().join("ollama"));
        command.args(arguments.iter().map(AsRef::as_ref));
        command
    }

    /// Runs a command to its end, without input.
    pub fn perilune<S: AsRef<str>>(&self, arguments: &[S]) -> Finished {
        self.start(arguments).finish()
    }

    /// Starts a command whose output can be read while it runs.
    pub fn start<S: AsRef<str>>(&self, arguments: &[S]) -> Running {
        Running::start(self.command(arguments))
    }

    /// Starts a kernel with a connection file of this name.
    pub fn kernel(&self, name: &str) -> Kernel {
        Kernel::start(self, name)
    }
}

impl Drop for Home {
    /// A test that failed half-way leaves no resident kernel behind.
    fn drop(&mut self) {
        if self.path().join("run/kernel.json").exists() {
            let _ = self.command(&["kernel", "stop"]).output();
        }
    }
}

/// A command that runs.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<u8>,
    stderr: Receiver<u8>,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = pump(child.stdout.take().unwrap());
        let stderr = pump(child.stderr.take().unwrap());
        Running { stdin: child.stdin.take(), child, stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until stdout says `text`, which ends what was read so far.
    pub fn expect(&mut self, text: &str) -> &mut Running {
        let mut seen = Vec::new();
        while !seen.ends_with(text.as_bytes()) {
            match self.stdout.recv_timeout(PATIENCE) {
                Ok(byte) => seen.push(byte),
                Err(_) => panic!(
                    "`{text}` did not come, but {:?}; {:?}",
                    String::from_utf8_lossy(&seen),
                    self.signal_and_finish("KILL")
                ),
            }
        }
        self
    }

    /// One line of stdout.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            match self.stdout.recv_timeout(PATIENCE) {
                Ok(byte) => line.push(byte),
                Err(_) => {
                    panic!("no line, but {:?}; {:?}", String::from_utf8_lossy(&line), self.signal_and_finish("KILL"))
                }
            }
        }
        String::from_utf8(line).unwrap()
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) -> &mut Running {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
        self
    }

    /// Sends a signal, such as `INT`.
    pub fn signal(&mut self, signal: &str) -> &mut Running {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
        self
    }

    /// Closes its stdout, as `| head` does.
    pub fn stop_reading(&mut self) {
        self.stdout = channel().1;
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until its output ends, while its input stays open.
    pub fn expect_end(&mut self) -> &mut Running {
        let rest = self.rest(true);
        assert_eq!(rest, "");
        self
    }

    /// Ends its input and waits for its end.
    pub fn finish(mut self) -> Finished {
        self.end()
    }

    fn signal_and_finish(&mut self, signal: &str) -> Finished {
        self.signal(signal).end()
    }

    fn end(&mut self) -> Finished {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.rest(true), self.rest(false));
        let status = self.child.wait().unwrap();
        Finished { code: status.code(), stdout, stderr }
    }

    /// What is still to come from a stream; its end comes with the process's.
    fn rest(&mut self, of_stdout: bool) -> String {
        let stream = if of_stdout { &self.stdout } else { &self.stderr };
        let mut bytes = Vec::new();
        loop {
            match stream.recv_timeout(PATIENCE) {
                Ok(byte) => bytes.push(byte),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return String::from_utf8(bytes).unwrap(),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    self.child.kill().unwrap();
                    panic!("it did not end; so far: {}", String::from_utf8_lossy(&bytes));
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a stream on a thread of its own; stops, and closes it, when nobody takes the bytes.
fn pump(stream: impl Read + Send + 'static) -> Receiver<u8> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        while let Ok(bytes) = stream.fill_buf() {
            let count = bytes.len();
            if count == 0 || bytes.iter().any(|byte| sender.send(*byte).is_err()) {
                return;
            }
            stream.consume(count);
        }
    });
    receiver
}

/// What a command did.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn expect_code(&self, code: i32) -> &Finished {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    pub fn expect_ok(&self) -> &Finished {
        self.expect_code(0)
    }

    pub fn expect_stdout(&self, text: &str) -> &Finished {
        assert_eq!(self.stdout, text, "{self:#?}");
        self
    }

    pub fn expect_stderr_has(&self, text: &str) -> &Finished {
        assert!(self.stderr.contains(text), "no `{text}` in {self:#?}");
        self
    }

    /// One clean line on stderr, and nothing on stdout.
    pub fn expect_error(&self, code: i32, words: &[&str]) -> &Finished {
        self.expect_code(code).expect_stdout("");
        assert!(self.stderr.starts_with("error: ") && self.stderr.lines().count() == 1, "{self:#?}");
        words.iter().for_each(|word| _ = self.expect_stderr_has(word));
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }
}

/// A kernel in a process of its own.
pub struct Kernel {
    process: Running,
    pub connection_file: PathBuf,
}

impl Kernel {
    fn start(home: &Home, name: &str) -> Kernel {
        let mut process = home.start(&["kernel", "start", "--connection-file", name]);
        let connection_file = PathBuf::from(process.line().trim_end());
        Kernel { process, connection_file }
    }

    /// Puts `--connect` and this kernel's file before a command.
    pub fn arguments<S: AsRef<str>>(&self, arguments: &[S]) -> Vec<String> {
        let connect = ["--connect".to_owned(), self.connection_file.display().to_string()];
        connect.into_iter().chain(arguments.iter().map(|argument| argument.as_ref().to_owned())).collect()
    }

    pub fn process(&mut self) -> &mut Running {
        &mut self.process
    }

    pub fn finish(self) -> Finished {
        self.process.finish()
    }

    pub fn connection(&self) -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(&self.connection_file).unwrap()).unwrap()
    }
}

/// Waits for a condition that nothing announces.
pub fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come true");
        thread::yield_now();
    }
}
