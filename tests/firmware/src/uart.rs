//! UART0, with an interrupt that fills one queue and empties another one: a transport for the polled driver.
//!
//! ```text
//!   interrupt                                   main loop
//!
//!   data register  --> receive  queue --> Read,  ReadReady
//!   data register  <-- transmit queue <-- Write, WriteReady
//! ```
//!
//! It is a PL011, as in QEMU's model of it (`hw/char/pl011.c`). Not tested on a real chip, where the clock,
//! the pins and the baud rate need to be set up as well.

use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cortex_m::asm;
use cortex_m::peripheral::NVIC;
use critical_section::Mutex;
use embedded_io::{Error, ErrorKind, ErrorType, Read, ReadReady, Write, WriteReady};
use heapless::spsc::{Consumer, Producer, Queue};
use lm3s6965::interrupt;
use static_cell::ConstStaticCell;
use volatile_register::{RO, RW, WO};

#[repr(C)]
struct Registers {
    /// DR: the next received byte with its errors when read, a byte to send when written.
    data: RW<u32>,
    /// RSR and a gap.
    _status: [RO<u32>; 5],
    /// FR
    flags: RO<u32>,
    /// ILPR and the baud rate, left unchanged.
    _untouched: [RO<u32>; 4],
    /// LCRH
    line_control: RW<u32>,
    /// CTL
    control: RW<u32>,
    /// IFLS
    _levels: RO<u32>,
    /// IM: events that cause an interrupt.
    interrupt_mask: RW<u32>,
    /// RIS and MIS.
    _interrupts: [RO<u32>; 2],
    /// ICR: acknowledges events.
    acknowledge: WO<u32>,
}

fn registers() -> &'static Registers {
    const ADDRESS: *const Registers = 0x4000_c000 as *const Registers;
    // SAFETY: the board always has these registers at this address and in this layout, and they are read and
    // written as volatile. The interrupt uses them, and the main loop before it switches the interrupt on;
    // after that it only reads the flags.
    unsafe { &*ADDRESS }
}

/// Flag: no received byte waits.
const RECEIVE_EMPTY: u32 = 1 << 4;
/// Flag: no byte can be written.
const TRANSMIT_FULL: u32 = 1 << 5;
/// Flag: a byte is being sent.
const BUSY: u32 = 1 << 3;
/// Error of a received byte: bytes before it were lost.
const OVERRUN: u32 = 1 << 11;
/// Errors of a received byte: framing, parity, break.
const BROKEN: u32 = 0b111 << 8;
/// Line control: 8 bits, no parity, and no FIFO. QEMU accepts a byte before the program starts, and would
/// drop it when the FIFO is switched on. On a chip the FIFO gives the interrupt more time.
const EIGHT_BITS: u32 = 0x60;
/// Control: switches on the UART, its receiver and its transmitter.
const ON: u32 = 1 | 1 << 8 | 1 << 9;
/// Events: a byte was received, a byte was sent, a received byte waits without another one.
const EVENTS: u32 = 1 << 4 | 1 << 5 | 1 << 6;
/// All events that can be acknowledged.
const ALL: u32 = 0x7f0;

/// Capacity of a queue in bytes, and 1. At 115200 baud the main loop may do something else for 11 ms.
const QUEUE: usize = 128;

/// The interrupt's side.
struct Line {
    received: Producer<'static, u8>,
    to_send: Consumer<'static, u8>,
}

static LINE: Mutex<RefCell<Option<Line>>> = Mutex::new(RefCell::new(None));

/// Number of bytes that were received and lost.
static LOST: AtomicU32 = AtomicU32::new(0);

/// Whether the interrupt was served since the last sleep.
static SERVED: AtomicBool = AtomicBool::new(false);

impl Line {
    /// Moves what can be moved. It never waits.
    fn serve(&mut self) {
        let registers = registers();
        // First: what happens later causes another interrupt.
        // SAFETY: this write has no effect on memory, only on the UART.
        unsafe { registers.acknowledge.write(ALL) };
        while registers.flags.read() & RECEIVE_EMPTY == 0 {
            let data = registers.data.read();
            let [byte, ..] = data.to_le_bytes();
            let mut lost = u32::from(data & OVERRUN != 0);
            if data & BROKEN != 0 || self.received.enqueue(byte).is_err() {
                lost += 1;
            }
            LOST.fetch_add(lost, Ordering::Relaxed);
        }
        while registers.flags.read() & TRANSMIT_FULL == 0
            && let Some(byte) = self.to_send.dequeue()
        {
            // SAFETY: this write has no effect on memory, only on the UART.
            unsafe { registers.data.write(byte.into()) };
        }
    }
}

#[interrupt]
fn UART0() {
    critical_section::with(|token| {
        if let Some(line) = &mut *LINE.borrow_ref_mut(token) {
            line.serve();
        }
    });
    SERVED.store(true, Ordering::Relaxed);
}

/// Sleeps until the next interrupt: a byte was received or sent, or the clock ticked. Returns at once if
/// the UART's was served since the last call.
pub fn sleep() {
    // Interrupts are masked, so none can be served between the check and the sleep. A pending one
    // still ends the sleep and is served afterwards.
    cortex_m::interrupt::free(|_| {
        if !SERVED.swap(false, Ordering::Relaxed) {
            asm::wfi();
        }
    });
}

/// Bytes were received and lost: the receive queue was full, or the UART reported an error.
#[derive(Clone, Copy, Debug, defmt::Format)]
pub struct Lost(pub u32);

impl core::fmt::Display for Lost {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} bytes lost", self.0)
    }
}

impl core::error::Error for Lost {}

impl Error for Lost {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

/// The main loop's side of the UART.
pub struct Uart {
    received: Consumer<'static, u8>,
    to_send: Producer<'static, u8>,
}

impl Uart {
    /// Takes the UART and switches it on. Returns `None` if it was taken before.
    pub fn take() -> Option<Self> {
        static QUEUES: ConstStaticCell<[Queue<u8, QUEUE>; 2]> =
            ConstStaticCell::new([const { Queue::new() }; 2]);
        let [received, to_send] = QUEUES.try_take()?.each_mut().map(Queue::split);
        let line = Line { received: received.0, to_send: to_send.1 };
        let registers = registers();
        critical_section::with(|token| LINE.replace(token, Some(line)));
        // SAFETY: these writes have no effect on memory, only on the UART.
        unsafe {
            registers.line_control.write(EIGHT_BITS);
            registers.control.write(ON);
            registers.interrupt_mask.write(EVENTS);
        }
        // SAFETY: the interrupt shares data with the main loop through queues, atomics and a mutex only.
        unsafe { NVIC::unmask(interrupt::UART0) };
        // A byte may wait that arrived before.
        NVIC::pend(interrupt::UART0);
        Some(Self { received: received.1, to_send: to_send.0 })
    }

    /// Waits until everything is sent.
    pub fn finish(&mut self) {
        while !self.to_send.is_empty() || registers().flags.read() & BUSY != 0 {
            sleep();
        }
    }
}

/// Returns an error if bytes were lost.
pub fn check() -> Result<(), Lost> {
    match LOST.load(Ordering::Relaxed) {
        0 => Ok(()),
        n => Err(Lost(n)),
    }
}

impl ErrorType for Uart {
    type Error = Lost;
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Lost> {
        // The protocol has no checksum, and would take the next byte for the lost one.
        check()?;
        Ok(self.received.ready())
    }
}

impl Read for Uart {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, Lost> {
        // The polled driver reads only what is ready.
        while !self.read_ready()? && !space.is_empty() {
            sleep();
        }
        let mut n = 0;
        for (to, byte) in space.iter_mut().zip(core::iter::from_fn(|| self.received.dequeue())) {
            *to = byte;
            n += 1;
        }
        Ok(n)
    }
}

impl WriteReady for Uart {
    fn write_ready(&mut self) -> Result<bool, Lost> {
        Ok(self.to_send.ready())
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Lost> {
        while !self.to_send.ready() && !bytes.is_empty() {
            sleep();
        }
        let n = bytes.iter().take_while(|byte| self.to_send.enqueue(**byte).is_ok()).count();
        // The interrupt sends them.
        NVIC::pend(interrupt::UART0);
        Ok(n)
    }

    /// The interrupt sends what is queued. A caller that has to know when it has been sent calls
    /// [`finish`](Uart::finish).
    fn flush(&mut self) -> Result<(), Lost> {
        Ok(())
    }
}
