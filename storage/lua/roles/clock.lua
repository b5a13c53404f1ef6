-- The clock of leases: unlike `fiber`'s monotonic clock it goes on while the machine is suspended. Otherwise the
-- owner of a lease that ended during the suspension would trust it, while the store has given its pages to others.

local ffi = require('ffi')
local fiber = require('fiber')

local clock = {}

local CLOCK_BOOTTIME = 7

-- A symbol name of our own: `clock_gettime` may be declared already, with another type. The pcall: `schema apply` loads
-- this file again, and the second declaration fails.
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

-- Without such a clock: the time passed since the last look is what the monotonic clock says or what the wall clock
-- says, whichever is more. So a lease holds only while both say so; a wall clock that is set forward ends it early.
-- `monotonic`, `wall`: return seconds.
function clock.of_both(monotonic, wall)
    local now, last_monotonic, last_wall = monotonic(), monotonic(), wall()
    return function()
        local m, w = monotonic(), wall()
        now = now + math.max(m - last_monotonic, w - last_wall, 0)
        last_monotonic, last_wall = m, w
        return now
    end
end

-- Seconds. Comparable within the life of this process only.
clock.now = jit.os == 'Linux' and boottime() ~= nil and boottime or clock.of_both(fiber.clock, fiber.time)

return clock
