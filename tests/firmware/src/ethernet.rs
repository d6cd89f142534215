//! The Stellaris Ethernet controller, as QEMU's model of it has it (`hw/net/stellaris_enet.c`).
//!
//! Both FIFOs are one register that is read or written a word at a time, little-endian, and both
//! put a length of two bytes before the frame:
//!
//! ```text
//!   receive:   length  frame ...  FCS      the length counts all of it: 2 + frame + 4
//!              2       60..1514   4
//!   transmit:  length  frame ...           it counts what follows the frame's header of 14 bytes
//! ```
//!
//! Not tried on the chip itself, where clocks and the PHY would have to be set up as well.

use cortex_m::asm;
use cortex_m::interrupt::{self, InterruptNumber};
use cortex_m::peripheral::NVIC;
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;
use static_cell::ConstStaticCell;
use volatile_register::{RO, RW};

#[repr(C)]
struct Registers {
    /// RIS when read: what happened. IACK when written: these are seen.
    status: RW<u32>,
    /// IM: what interrupts.
    interrupt_mask: RW<u32>,
    /// RCTL
    receive_control: RW<u32>,
    /// TCTL
    transmit_control: RW<u32>,
    /// DATA: the receive FIFO when read, the transmit FIFO when written.
    data: RW<u32>,
    /// IA0 and IA1: the station's address.
    address: [RO<u32>; 2],
    /// THR, MCTL, MDV, a gap, MTXD, MRXD: the threshold and the PHY, left as they are.
    _untouched: [RO<u32>; 6],
    /// NP: so many frames wait.
    packets: RO<u32>,
    /// TR: send what is in the FIFO; 1 while it does.
    transmit: RW<u32>,
}

const REGISTERS: *const Registers = 0x4004_8000 as *const Registers;

/// All events of `status`.
const ALL: u32 = 0x7f;
/// A frame has come.
const RECEIVED: u32 = 0x01;
/// Empties the receive FIFO.
const RESET_FIFO: u32 = 0x10;
/// Receives, but no frame with a bad FCS.
const RECEIVE: u32 = 0x09;
/// Sends full duplex, with padding and FCS.
const TRANSMIT: u32 = 0x0f;

/// An Ethernet frame without its FCS.
const FRAME: usize = 1514;
/// Destination, source, type.
const HEADER: usize = 14;
const LENGTH: usize = 2;
const FCS: usize = 4;

/// Its line at the interrupt controller.
#[derive(Clone, Copy)]
struct Line;

// SAFETY: the controller's line is 42 whatever happens, and 42 is below the LM3S6965's number of
// lines.
unsafe impl InterruptNumber for Line {
    fn number(self) -> u16 {
        42
    }
}

/// The controller, and a buffer for a frame in each direction.
pub struct Ethernet {
    registers: &'static Registers,
    received: &'static mut [u8; LENGTH + FRAME + FCS],
    sent: &'static mut [u8; LENGTH + FRAME],
}

impl Ethernet {
    /// Takes the controller, resets it and switches it on. `None` when it has been taken.
    pub fn take() -> Option<Self> {
        // In statics: the stack is not for buffers.
        static RECEIVED: ConstStaticCell<[u8; LENGTH + FRAME + FCS]> = ConstStaticCell::new([0; _]);
        static SENT: ConstStaticCell<[u8; LENGTH + FRAME]> = ConstStaticCell::new([0; _]);
        let (received, sent) = (RECEIVED.try_take()?, SENT.try_take()?);
        // SAFETY: the board has these registers there, laid out so, for as long as it has power;
        // nobody else refers to them, or there had been no buffers above.
        let registers = unsafe { &*REGISTERS };
        let this = Self { registers, received, sent };
        this.interrupt_on(0);
        this.acknowledge();
        // SAFETY: these writes have no effect on memory, only on the controller.
        unsafe {
            this.registers.receive_control.write(RESET_FIFO);
            this.registers.receive_control.write(RECEIVE);
            this.registers.transmit_control.write(TRANSMIT);
        }
        Some(this)
    }

    /// The station's address.
    pub fn address(&self) -> EthernetAddress {
        let [low, high] = self.registers.address.each_ref().map(|r| r.read().to_le_bytes());
        EthernetAddress([low[0], low[1], low[2], low[3], high[0], high[1]])
    }

    /// Whether a frame waits.
    pub fn has_frame(&self) -> bool {
        self.registers.packets.read() != 0
    }

    /// Sleeps until a frame comes or an interrupt is due, the clock's tick for one. At once when a
    /// frame waits already.
    pub fn sleep(&self) {
        // With interrupts masked none can slip in between the look and the sleep: a pending one
        // ends the sleep all the same, and is served after it.
        interrupt::free(|_| {
            self.acknowledge();
            self.interrupt_on(RECEIVED);
            NVIC::unpend(Line);
            // SAFETY: unmasked with PRIMASK set, and masked again below, so it is never served:
            // no critical section can be broken by it.
            unsafe { NVIC::unmask(Line) };
            if !self.has_frame() {
                asm::wfi();
            }
            NVIC::mask(Line);
            self.interrupt_on(0);
        });
    }

    fn acknowledge(&self) {
        // SAFETY: this write has no effect on memory, only on the controller.
        unsafe { self.registers.status.write(ALL) };
    }

    fn interrupt_on(&self, events: u32) {
        // SAFETY: this write has no effect on memory, only on the controller.
        unsafe { self.registers.interrupt_mask.write(events) };
    }

    fn is_sending(&self) -> bool {
        self.registers.transmit.read() & 1 != 0
    }

    /// Takes the next frame that fits from the FIFO into the buffer. Returns where it ends there.
    fn take_frame(&mut self) -> Option<usize> {
        while self.has_frame() {
            let first = self.registers.data.read().to_le_bytes();
            let total = usize::from(u16::from_le_bytes([first[0], first[1]]));
            let mut room = self.received.chunks_exact_mut(4);
            if let Some(room) = room.next() {
                room.copy_from_slice(&first);
            }
            // All of its words, also when it is too long: the next frame starts behind them.
            for _ in 1..total.div_ceil(4) {
                let word = self.registers.data.read().to_le_bytes();
                if let Some(room) = room.next() {
                    room.copy_from_slice(&word);
                }
            }
            let end = total.saturating_sub(FCS);
            if end >= LENGTH + HEADER && total <= self.received.len() {
                return Some(end);
            }
        }
        None
    }
}

/// A frame that came.
pub struct RxToken<'a>(&'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame to send.
pub struct TxToken<'a> {
    registers: &'static Registers,
    buffer: &'a mut [u8; LENGTH + FRAME],
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self { registers, buffer } = self;
        // smoltcp asks for a frame's header at least, and for no more than the capabilities say.
        let length = u16::try_from(len - HEADER).unwrap_or(u16::MAX);
        let all = &mut buffer[..LENGTH + len];
        all[..LENGTH].copy_from_slice(&length.to_le_bytes());
        let result = f(&mut all[LENGTH..]);
        for bytes in all.chunks(4) {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            // SAFETY: this write has no effect on memory, only on the controller.
            unsafe { registers.data.write(u32::from_le_bytes(word)) };
        }
        // SAFETY: as above.
        unsafe { registers.transmit.write(1) };
        result
    }
}

impl Device for Ethernet {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        if self.is_sending() {
            return None;
        }
        let end = self.take_frame()?;
        let frame = RxToken(self.received.get(LENGTH..end)?);
        Some((frame, TxToken { registers: self.registers, buffer: self.sent }))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        if self.is_sending() {
            return None;
        }
        Some(TxToken { registers: self.registers, buffer: self.sent })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}
