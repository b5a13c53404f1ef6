-- Brings a role's spaces to the version of this code: one step a version, forward only. A step never changes once it is
-- committed: every later change of a space is a new step at the end of its list (docs/adr/0019).

local atomic = require('roles.atomic')

-- `keep`: the space of {key, value} rows that holds the version, made if it is missing. `steps`: functions, or tables of
-- two: `formats` changes the formats of spaces, which Tarantool takes outside of transactions only, so it may run again
-- after a kill; then `rows` is one transaction. `owner`: the role that owns the spaces, for the error. Returns the
-- version.
return function(keep, steps, owner)
    local rows = box.space[keep]
    if rows == nil then
        rows = box.schema.space.create(keep, {format = {{'key', 'string'}, {'value', 'any'}}})
        rows:create_index('key', {parts = {'key'}})
    end
    local row = rows:get('schema')
    local version = row and row.value or 0
    if version > #steps then
        error(('the %s has schema %d, this Broadside knows %d: start a newer Broadside'):format(owner, version, #steps), 0)
    end
    for n = version + 1, #steps do
        local step = type(steps[n]) == 'table' and steps[n] or {rows = steps[n]}
        if step.formats ~= nil then
            step.formats()
        end
        atomic(function() -- an instance that is killed in the middle of a step does it again from the start
            step.rows()
            rows:replace({'schema', n})
        end)
    end
    return #steps
end
