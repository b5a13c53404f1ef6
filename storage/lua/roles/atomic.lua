-- One call, one transaction: all of `f` is written, or none of it.

local function finish(ok, ...)
    if not ok then
        box.rollback()
        error((...), 0)
    end
    box.commit()
    return ... -- with its nils: a verb's nil is a result
end

return function(f, ...)
    box.begin()
    return finish(pcall(f, ...))
end
