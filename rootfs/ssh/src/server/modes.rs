//! Terminal modes as a client encodes them (RFC 4254, section 8).

use russh::Pty;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, tcgetattr,
    tcsetattr,
};
use std::io;
use std::os::fd::AsFd;

/// Sets what the client's terminal has. Speeds and what Linux does not know are left as they are.
pub(super) fn set(terminal: impl AsFd, modes: &[(Pty, u32)]) -> io::Result<()> {
    let mut termios = tcgetattr(&terminal)?;
    for (code, value) in modes {
        apply(&mut termios, *code, *value);
    }
    Ok(tcsetattr(&terminal, OptionalActions::Now, &termios)?)
}

fn apply(termios: &mut Termios, code: Pty, value: u32) {
    use SpecialCodeIndex as Code;
    let character = match code {
        Pty::VINTR => Code::VINTR,
        Pty::VQUIT => Code::VQUIT,
        Pty::VERASE => Code::VERASE,
        Pty::VKILL => Code::VKILL,
        Pty::VEOF => Code::VEOF,
        Pty::VEOL => Code::VEOL,
        Pty::VEOL2 => Code::VEOL2,
        Pty::VSTART => Code::VSTART,
        Pty::VSTOP => Code::VSTOP,
        Pty::VSUSP => Code::VSUSP,
        Pty::VREPRINT => Code::VREPRINT,
        Pty::VWERASE => Code::VWERASE,
        Pty::VLNEXT => Code::VLNEXT,
        Pty::VDISCARD => Code::VDISCARD,
        _ => return flag(termios, code, value != 0),
    };
    // 255 means that there is none, which is 0 here.
    termios.special_codes[character] = if value == 255 { 0 } else { value as u8 };
}

fn flag(termios: &mut Termios, code: Pty, on: bool) {
    match code {
        Pty::IGNPAR => termios.input_modes.set(InputModes::IGNPAR, on),
        Pty::PARMRK => termios.input_modes.set(InputModes::PARMRK, on),
        Pty::INPCK => termios.input_modes.set(InputModes::INPCK, on),
        Pty::ISTRIP => termios.input_modes.set(InputModes::ISTRIP, on),
        Pty::INLCR => termios.input_modes.set(InputModes::INLCR, on),
        Pty::IGNCR => termios.input_modes.set(InputModes::IGNCR, on),
        Pty::ICRNL => termios.input_modes.set(InputModes::ICRNL, on),
        Pty::IXON => termios.input_modes.set(InputModes::IXON, on),
        Pty::IXANY => termios.input_modes.set(InputModes::IXANY, on),
        Pty::IXOFF => termios.input_modes.set(InputModes::IXOFF, on),
        Pty::IMAXBEL => termios.input_modes.set(InputModes::IMAXBEL, on),
        Pty::IUTF8 => termios.input_modes.set(InputModes::IUTF8, on),
        Pty::ISIG => termios.local_modes.set(LocalModes::ISIG, on),
        Pty::ICANON => termios.local_modes.set(LocalModes::ICANON, on),
        Pty::ECHO => termios.local_modes.set(LocalModes::ECHO, on),
        Pty::ECHOE => termios.local_modes.set(LocalModes::ECHOE, on),
        Pty::ECHOK => termios.local_modes.set(LocalModes::ECHOK, on),
        Pty::ECHONL => termios.local_modes.set(LocalModes::ECHONL, on),
        Pty::NOFLSH => termios.local_modes.set(LocalModes::NOFLSH, on),
        Pty::TOSTOP => termios.local_modes.set(LocalModes::TOSTOP, on),
        Pty::IEXTEN => termios.local_modes.set(LocalModes::IEXTEN, on),
        Pty::ECHOCTL => termios.local_modes.set(LocalModes::ECHOCTL, on),
        Pty::ECHOKE => termios.local_modes.set(LocalModes::ECHOKE, on),
        Pty::OPOST => termios.output_modes.set(OutputModes::OPOST, on),
        Pty::ONLCR => termios.output_modes.set(OutputModes::ONLCR, on),
        Pty::OCRNL => termios.output_modes.set(OutputModes::OCRNL, on),
        Pty::ONOCR => termios.output_modes.set(OutputModes::ONOCR, on),
        Pty::ONLRET => termios.output_modes.set(OutputModes::ONLRET, on),
        Pty::CS7 if on => set_size(termios, ControlModes::CS7),
        Pty::CS8 if on => set_size(termios, ControlModes::CS8),
        Pty::PARENB => termios.control_modes.set(ControlModes::PARENB, on),
        Pty::PARODD => termios.control_modes.set(ControlModes::PARODD, on),
        _ => {}
    }
}

fn set_size(termios: &mut Termios, size: ControlModes) {
    termios.control_modes.remove(ControlModes::CSIZE);
    termios.control_modes.insert(size);
}
