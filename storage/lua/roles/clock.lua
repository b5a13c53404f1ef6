-- The clock of leases: it goes on while the machine is suspended, as the monotonic clock of `fiber` does not. A lease that
-- slept through its end would still hold in its owner's eyes, while the store has given its pages to others.

local ffi = require('ffi')
local fiber = require('fiber')

local clock = {}

local CLOCK_BOOTTIME = 7

-- A symbol of our own: the name itself may be declared already, otherwise than here. Declared once: this file is loaded
-- anew by `schema apply`.
pcall(ffi.cdef, [[
    struct broadside_timespec { long seconds; long nanoseconds; };
    int broadside_clock_gettime(int clock, struct broadside_timespec *at) __asm__("clock_gettime");
]])

local at = ffi.new('struct broadside_timespec')

local function boottime()
    if ffi.C.broadside_clock_gettime(CLOCK_BOOTTIME, at) ~= 0 then
        return nil
    end
    return tonumber(at.seconds) + tonumber(at.nanoseconds) / 1e9
end

-- Where there is no such clock: as much time has passed since the last look as the monotonic clock says, or the wall
-- clock, whichever says more. So a lease holds only while both say so; a wall clock that is set forward ends it early.
-- `monotonic`, `wall`: answer seconds.
function clock.of_both(monotonic, wall)
    local now, last_monotonic, last_wall = monotonic(), monotonic(), wall()
    return function()
        local m, w = monotonic(), wall()
        now = now + math.max(m - last_monotonic, w - last_wall, 0)
        last_monotonic, last_wall = m, w
        return now
    end
end

-- Seconds. Comparable within one life of this process.
clock.now = jit.os == 'Linux' and boottime() ~= nil and boottime or clock.of_both(fiber.clock, fiber.time)

return clock
