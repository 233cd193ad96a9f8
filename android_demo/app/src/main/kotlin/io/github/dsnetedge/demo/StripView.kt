package io.github.dsnetedge.demo

import android.animation.ArgbEvaluator
import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.util.AttributeSet
import android.view.View
import io.github.dsnetedge.core.live.Strip
import io.github.dsnetedge.core.live.inWords
import io.github.dsnetedge.core.live.topInWords

/** A bar for each of the last images: height is time, colour is width; a line for the budget. */
class StripView(context: Context, attributes: AttributeSet) : View(context, attributes) {
    private val narrow = context.getColor(R.color.narrow)
    private val wide = context.getColor(R.color.wide)
    private val bar = Paint()
    private val budget = Paint().apply {
        color = context.getColor(R.color.budget)
        strokeWidth = resources.displayMetrics.density * 2
    }
    private val text = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        color = context.getColor(R.color.ink)
        textSize = resources.getDimension(R.dimen.strip_text)
    }
    private val blend = ArgbEvaluator()

    var strip = Strip()
        set(value) {
            field = value
            contentDescription = value.inWords()
            invalidate()
        }

    override fun onDraw(canvas: Canvas) {
        val (right, bottom) = width.toFloat() to height.toFloat()
        val top = text.textSize * 1.5f
        val step = right / Strip.CAPACITY
        fun y(ms: Double) = bottom - (bottom - top) * strip.height(ms).toFloat()
        strip.bars.forEachIndexed { index, image ->
            bar.color = blend.evaluate(image.shade.toFloat(), narrow, wide) as Int
            canvas.drawRect(index * step, y(image.ms), (index + 0.8f) * step, bottom, bar)
        }
        strip.budgetMs?.let { canvas.drawLine(0f, y(it), right, y(it), budget) }
        canvas.drawText(strip.topInWords(), 0f, text.textSize, text)
    }
}
